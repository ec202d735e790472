"""The tokenizer that is saved with a stitched model of the length rule `spans`."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from hf_stitch.errors import ArtifactError, DataError
from hf_stitch.loading.processors import TARGET_FOLDER, Preparer
from hf_stitch.loading.safetensors_only import WHERE
from hf_stitch.loading.saved_tokenizer import is_marked, load_tokenizer

logger = logging.getLogger(__name__)


class StitchedTokenizer:
    """Makes all that such a model's forward takes of texts: the source's tokens, and `target_spans`.

    transformers' own pipelines and Auto classes load it by its name. What it is asked beside a call is answered by the
    source's tokenizer.
    """

    def __init__(self, preparer: Preparer) -> None:
        self.preparer = preparer

    @classmethod
    def from_pretrained(cls, name: str | Path, *args: Any, **kwargs: Any) -> Any:
        """Load both tokenizers from the folder or repository of a stitched model.

        Raises:
            ArtifactError: there is none of that kind.
        """
        from transformers import AutoConfig

        place, where = str(name), {key: value for key, value in kwargs.items() if key in WHERE}
        config = AutoConfig.from_pretrained(place, **where)
        if not is_marked(place, **where) or not hasattr(config, "ends"):
            raise ArtifactError(
                f"{place}: tokenizer_config.json names no tokenizer of a stitched model; it is damaged or lost, "
                "copy or fit it again"
            )
        below = "/".join(filter(None, (where.pop("subfolder", ""), TARGET_FOLDER)))
        other = load_tokenizer(place, subfolder=below, **where)
        return cls(Preparer.beside(config, load_tokenizer(place, **where), other))

    @property
    def source(self) -> Any:
        """The source's tokenizer."""
        return self.preparer.tool

    def __getattr__(self, name: str) -> Any:
        if name == "preparer" or name.startswith("__"):  # while it is copied or unpickled
            raise AttributeError(name)
        return getattr(self.source, name)

    def __len__(self) -> int:
        return len(self.source)

    def __call__(
        self,
        text: str | Sequence[str] | None = None,
        text_pair: Any = None,
        *,
        return_tensors: str | None = None,
        max_length: int | None = None,
        padding: Any = True,
        truncation: Any = True,
        **more: Any,
    ) -> Any:
        """Inputs of the model: `input_ids`, `attention_mask` and `target_spans`, as `Preparer.batch` makes them.

        Args:
            text: one or several, which are padded to the longest, and cut at what both models read.
            max_length: cut them earlier.
            padding, truncation: only as they are.
            return_tensors: `pt` or `np`; lists, if absent.

        Raises:
            DataError: a pair of texts, a text that is blank or none, or an option that spans leave no choice in.
        """
        from transformers import BatchEncoding

        texts: list[Any] = list(text) if isinstance(text, list | tuple) else [text]
        if text_pair is not None:
            raise DataError("text_pair: a stitched model of the length rule spans takes one text; join both into one")
        for one in texts:
            if not isinstance(one, str) or not one.strip():
                raise DataError(f"expected a text that is not blank; got {type(one).__name__} {str(one)[:40]!r}")
        fixed = {"return_attention_mask": True, "return_token_type_ids": False, "add_special_tokens": True}
        for key, value in more.items():
            if value is not None and fixed.get(key, object()) != value:
                raise DataError(
                    f"{key}={value!r}: the tokens of a stitched model of the length rule spans are those of its fit; "
                    "leave it out (max_length cuts)"
                )
        limits = [limit for limit in (max_length, self.preparer.max_length) if limit is not None]
        preparer = dataclasses.replace(self.preparer, max_length=min(limits, default=None))
        for one in texts:
            if cut := preparer.cut(one):
                logger.warning("%r: %s", one[:40], cut)
        made: dict[str, Any] = preparer.batch(texts)
        if return_tensors is None:
            lists = {key: value.tolist() for key, value in made.items()}
            made = {key: rows[0] for key, rows in lists.items()} if isinstance(text, str) else lists
        elif return_tensors != "pt":
            made = {key: value.numpy() for key, value in made.items()}
        return BatchEncoding(made)

    def pad(self, encoded: Any, *, return_tensors: str | None = None, **more: Any) -> Any:
        """Samples made by calls, as one batch; what belongs to tokens is padded by the source's tokenizer."""
        rows = [dict(one) for one in encoded] if not isinstance(encoded, dict) else _rows(encoded)
        spans = [torch.as_tensor(one.pop("target_spans")) for one in rows]
        padded = self.source.pad(rows, return_tensors=return_tensors, **more)
        # Zeros, as pipelines have it: the length rule reads them as padding.
        joined = torch.nn.utils.rnn.pad_sequence(spans, batch_first=True)
        padded["target_spans"] = joined if return_tensors == "pt" else joined.tolist()
        return padded

    def save_pretrained(self, folder: str | Path, **more: Any) -> None:
        """Write both tokenizers, as beside the model."""
        self.preparer.save(folder)


def _rows(columns: Any) -> list[dict[str, Any]]:
    return [dict(zip(columns, values)) for values in zip(*columns.values())]
