"""From raw inputs (sound, text, numbers, pictures) to what a model's forward takes, and back to where words are."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from hf_stitch.errors import ArtifactError, DataError, RecipeError
from hf_stitch.hooks.given_inputs import FixedInputs
from hf_stitch.hooks.input_shapes import vector_width
from hf_stitch.loading.input_limits import cropped, sound_limit
from hf_stitch.loading.modality import Modality, input_name, modality
from hf_stitch.loading.model_classes import class_named, own_labels
from hf_stitch.loading.models import resolve
from hf_stitch.loading.quiet import quiet
from hf_stitch.loading.saved_tokenizer import load_tokenizer, mark
from hf_stitch.loading.sentence_transformers import SentenceTransformer, whole
from hf_stitch.loading.token_offsets import (
    Said,
    causal_spans,
    offsets,
    said_spans,
    save_tokenizer,
    token_count,
    token_spans,
    tokenized,
)
from hf_stitch.recipe.sequence import facts_of
from hf_stitch.recipe.side import Side

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel
SPECIAL, PADDING = -1, -2
"""First entry of a `target_spans` row that is no range of source tokens."""
TARGET_FOLDER = "target_tokenizer"
_SCALED = ("do_resize", "do_center_crop", "do_pad")
UNLIMITED = 10**6  # tokenizers without a limit give 1e30; by hand, far above any real limit


@dataclass(frozen=True)
class Preparer:
    """Turns raw inputs into the keyword arguments of one model's forward.

    Attributes:
        modality: audio, image, text or vector. input_name: the forward's main input.
        tool: the model's feature extractor, tokenizer or image processor; None for vectors.
        tokenizer: of a text model the tool, of a speech recogniser what spells its classes; else None.
        minimum: fewest audio samples that give one frame. `max_length`: most tokens, None without a limit.
        label2id: the model's own class names, None where it has only LABEL_0, LABEL_1, ...; classes: how many it tells
            apart, None where that is not known.
        target_tokenizer: the target's, for a length rule that needs spans; `target_max_length` the most tokens that the
            target takes, None without a limit.
        causal: of the tokens of a text none is given source tokens that end behind it.
        device: where the model is; sound is resampled there.
        width: how many numbers a model of vectors takes, None where that is not known.
        sound_limit: audio samples that the tool reads, None of one that reads all.
        fixed: what the model needs beside what the tool makes, the same in every batch.
    """

    modality: Modality
    input_name: str
    tool: Any = None
    tokenizer: Any = None
    dtype: torch.dtype = torch.float32
    minimum: int = 1
    max_length: int | None = None
    label2id: dict[str, int] | None = None
    classes: int | None = None
    target_tokenizer: Any = None
    target_max_length: int | None = None
    causal: bool = False
    device: torch.device | str = "cpu"
    width: int | None = None
    sound_limit: int | None = None
    fixed: FixedInputs | None = None

    @classmethod
    def for_model(cls, side: Side, model: PreTrainedModel, target_tokenizer: Any = None) -> Preparer:
        """Load what belongs to the model from where the model came.

        Raises:
            ArtifactError: no tokenizer or feature extractor there, or none that can be read.
        """
        kind = modality(model)
        place = resolve(side.model) if kind != "vector" else ""
        tool, speller = load_tools(kind, place, side.revision)
        return cls.with_tools(model, tool, speller, target_tokenizer)

    @classmethod
    def with_tools(cls, model: PreTrainedModel, tool: Any, speller: Any = None, other: Any = None) -> Preparer:
        """A preparer of what belongs to a model and is there.

        Args:
            speller: the tokenizer of a speech recogniser. other: the target's tokenizer.
        """
        kind = modality(model)
        made = cls.of(kind, model.config, input_name(model), tool, model.dtype, other)
        if kind == "vector":
            return made.for_width_of(model)
        if kind == "audio":
            made = dataclasses.replace(made, device=model.device)
        return made if speller is None else dataclasses.replace(made, tokenizer=speller)

    @classmethod
    def load(cls, folder: str | Path, config: PretrainedConfig) -> Preparer:
        """Load what `save` wrote; `config` is the (stitched) model's. ArtifactError as `for_model`."""
        kind = modality(getattr(config, "source", None) or config)
        rule = facts_of(getattr(config, "sequence", None) or {})
        other = target_tokenizer(folder) if rule.needs_target_spans else None
        return cls.beside(config, _load_tool(kind, str(folder), None), other)

    @classmethod
    def beside(cls, config: Any, tool: Any, other: Any = None) -> Preparer:
        """A preparer of a (stitched) model's tool that is there; `other` is the target's tokenizer."""
        source = getattr(config, "source", None) or config
        kind = modality(source)
        wanted = (getattr(config, "ends", None) or {"prefix": {}})["prefix"].get("class")
        name = input_name(source)
        if wanted and kind == "vector":
            name = class_named(wanted, config.ends["prefix"].get("module")).main_input_name
        dtype = getattr(source, "dtype", None) or getattr(config, "dtype", None) or torch.float32
        made = cls.of(kind, source, name, tool, dtype)
        if other is None:
            return made
        # Models of before have no limit saved: it was found as here.
        rule = getattr(config, "sequence", None) or {}
        limit = rule.get("limit") or _max_length(other, getattr(config, "target", None))
        return made.with_target_tokenizer(other, limit, bool(rule.get("causal")))

    @classmethod
    def of(cls, kind: Modality, config: Any, name: str, tool: Any, dtype: torch.dtype, other: Any = None) -> Preparer:
        """A preparer of a tool that is there; `other` is the target's tokenizer."""
        return cls(
            modality=kind,
            input_name=name,
            tool=tool,
            tokenizer=tool if kind == "text" else None,
            dtype=dtype,
            minimum=_minimum(config) if kind == "audio" else 1,
            max_length=_max_length(tool, config) if kind == "text" else None,
            label2id=own_labels(config),
            sound_limit=sound_limit(tool) if kind == "audio" else None,
            target_tokenizer=other,
        )

    def for_width_of(self, model: nn.Module) -> Preparer:
        """The same preparer, which knows how many numbers a model of vectors takes."""
        return dataclasses.replace(self, width=vector_width(model)) if self.modality == "vector" else self

    @property
    def rate(self) -> int:
        """Sampling rate in Hz that the model wants."""
        rate = getattr(self.tool, "sampling_rate", None)
        if not rate:
            raise RecipeError(f"a model of {self.modality} has no sampling rate; expected an audio model")
        return int(rate)

    def with_target_tokenizer(
        self, target_tokenizer: Any, max_length: int | None = None, causal: bool = False
    ) -> Preparer:
        """The same preparer, whose batches of texts also say which source tokens each target token comes from.

        Args:
            max_length: most tokens that the target takes; texts are cut there as in the fit.
            causal: see `Preparer`.
        """
        return dataclasses.replace(self, target_tokenizer=target_tokenizer, target_max_length=max_length, causal=causal)

    def length(self, raw: Any) -> int:
        """How long an input is, in audio samples or tokens, for batches of like lengths."""
        if self.modality == "audio":
            return len(raw)
        return token_count(self.tool, raw) if self.modality == "text" else 1

    @property
    def padding_side(self) -> str:
        """On which side of what is real batches are padded."""
        return str(getattr(self.tool, "padding_side", "right"))

    @property
    def padding_token(self) -> int | None:
        """What texts are padded with; the model's own configuration may name another token, or none."""
        return getattr(self.tokenizer, "pad_token_id", None) if self.modality == "text" else None

    @property
    def cuts(self) -> bool:
        """Whether there are inputs of which the model reads a part alone."""
        return self.most is not None or (self.modality == "image" and bool(getattr(self.tool, "do_center_crop", False)))

    @property
    def most(self) -> str | None:
        """The most that the model reads of one input, in words; None where it reads any."""
        if self.modality == "text":
            return None if self.max_length is None else f"{self.max_length} tokens"
        return None if self.sound_limit is None else f"{self.sound_limit / self.rate:.3g} s"

    def cut(self, raw: Any) -> str | None:
        """What is lost of an input that is more than the model reads, in words; None where nothing is."""
        if self.modality == "text":
            if self.max_length is not None and (length := self.length(raw)) > self.max_length:
                return f"{length} tokens, the model reads {self.max_length}, the rest is left out"
            if self.target_tokenizer is None or (most := self.target_max_length) is None:
                return None
            length = token_count(self.target_tokenizer, raw)
            return None if length <= most else f"{length} tokens, the target takes {most}, the rest is left out"
        if self.modality == "image":
            read = cropped(self.tool, *raw.size)
            return None if read is None else f"the model reads {read}, the rest is left out"
        if self.sound_limit is None or len(raw) <= self.sound_limit:
            return None
        return f"{len(raw) / self.rate:.3g} s, the model reads {self.most}, the rest is left out"

    def sizes(self) -> dict[str, tuple[int, ...]]:
        """Shape of one picture as the model is given it, by the input's name; empty where pictures keep their size."""
        from PIL import Image

        if self.modality != "image" or not any(getattr(self.tool, name, False) for name in _SCALED):
            return {}
        # 256 by hand: a square, larger than what most models read
        made = self.tool(images=[Image.new("RGB", (256, 256))], return_tensors="pt")
        shapes = {name: tuple(value.shape) for name, value in made.items() if name == self.input_name}
        return {name: shape[1:] for name, shape in shapes.items() if len(shape) == 4 and shape[0] == 1}

    def batch(self, raws: Sequence[Any], said: Sequence[Said] | None = None) -> dict[str, Tensor]:
        """Keyword arguments of the forward: what the tool makes, and what is fixed. See `_made` for what that is."""
        made = self._made(raws, said)
        return made if self.fixed is None else self.fixed.beside(made, self.dtype)

    def _made(self, raws: Sequence[Any], said: Sequence[Said] | None) -> dict[str, Tensor]:
        """What the tool makes.

        Args:
            raws: (t,) float arrays at `rate`; strings; (d,) numbers; or pictures.
            said: the words of each sound with their times, for a length rule that needs spans.

        Returns:
            Audio: `input_values` (b, t) float32 (or the extractor's `input_features`), `attention_mask` (b, t) int64;
            with `said` also `target_spans` (b, t', 2) int64: as below, in audio samples.
            Text: `input_ids` and `attention_mask` (b, t) int64, padded on the tokenizer's own side and cut at
            `max_length`, without token types; with a target tokenizer also `target_spans` (b, t', 2) int64: the
            range of source tokens, counted from the first that is no padding, that each target token overlaps (the
            nearest token where it overlaps none; of a `causal` target see `causal_spans`), (-1, token id) for its
            special tokens and (-2, -2) for its padding.
            Vectors: (b, d) under the model's main input, in the model's dtype.

        Raises:
            DataError: an empty batch, or vectors of different widths.
        """
        if len(raws) == 0:
            raise DataError("expected at least one input in a batch; got none")
        if self.modality == "vector":
            return {self.input_name: self._vectors(raws)}
        if self.modality == "image":
            return self._pictures(raws)
        if self.modality == "audio":
            arrays = [np.asarray(raw, dtype=np.float32) for raw in raws]
            padding = "max_length" if hasattr(self.tool, "chunk_length") else True  # Whisper takes 30 s and no less
            made = self.tool(
                arrays, sampling_rate=self.rate, padding=padding, return_attention_mask=True, return_tensors="pt"
            )
            made = {key: value.long() if key == "attention_mask" else value.float() for key, value in made.items()}
            return made if said is None else {**made, "target_spans": self._said_spans(said)}
        encoded = self._encode(self.tool, list(raws), self.max_length)
        made = {key: encoded[key] for key in ("input_ids", "attention_mask")}
        if self.target_tokenizer is not None:
            made["target_spans"] = self._target_spans(list(raws))
        return made

    def _pictures(self, raws: Sequence[Any]) -> dict[str, Tensor]:
        made = dict(self.tool(images=list(raws), return_tensors="pt"))
        shape = tuple(made[self.input_name].shape) if self.input_name in made else None
        if shape is not None and (shape[0] != len(raws) or len(shape) == 5):
            raise DataError(f"this model reads videos; got {len(raws)} pictures (inputs {shape}): choose another")
        return made

    def _vectors(self, raws: Sequence[Any]) -> Tensor:
        rows = [np.atleast_1d(np.asarray(raw)) for raw in raws]
        widths = sorted({row.shape for row in rows})
        if len(widths) > 1 or len(widths[0]) != 1:
            raise DataError(f"expected vectors of one width; got shapes {', '.join(map(str, widths[:4]))}")
        return torch.as_tensor(np.stack(rows)).to(self.dtype)

    @staticmethod
    def _encode(tokenizer: Any, texts: list[str], max_length: int | None) -> Any:
        return tokenized(
            tokenizer, texts, padding=True, truncation=max_length is not None, max_length=max_length,
            return_token_type_ids=False, return_attention_mask=True, return_tensors="pt",
        )  # fmt: skip

    def _target_spans(self, texts: list[str]) -> Tensor:
        """(b, t', 2): see `batch`."""
        longest = self.target_max_length
        target = self._encode(self.target_tokenizer, texts, longest)
        spans = torch.full((*target["input_ids"].shape, 2), PADDING)
        # One limit for tokens and their places: special tokens stand behind the cut.
        pairs = zip(offsets(self.tool, texts, self.max_length), offsets(self.target_tokenizer, texts, longest))
        for i, (mine, theirs) in enumerate(pairs):
            real = target["attention_mask"][i].bool()
            ids = target["input_ids"][i][real].tolist()
            found = (causal_spans if self.causal else token_spans)(mine, theirs)
            rows = [(SPECIAL, token) if s is None else s for s, token in zip(found, ids)]
            spans[i, real] = torch.tensor(rows)
        return spans

    def _said_spans(self, said: Sequence[Said]) -> Tensor:
        """(b, t', 2): see `batch`."""
        tokenizer = self.target_tokenizer
        if tokenizer is None:
            raise RecipeError("words with times need the target's tokenizer; the length rule of this model takes none")
        rows = [said_spans(tokenizer, one, self.rate, self.target_max_length) for one in said]
        spans = torch.full((len(rows), max(map(len, rows)), 2), PADDING)
        for i, row in enumerate(rows):
            left = tokenizer.padding_side == "left"
            spans[i, slice(-len(row), None) if left else slice(len(row))] = torch.from_numpy(row)
        return spans

    def save(self, folder: str | Path) -> None:
        """Write tokenizer or feature extractor into the folder, and the target's tokenizer beneath it."""
        if self.tool is not None:
            tool = copy.copy(self.tool)
            if hasattr(tool, "_processor_class"):
                tool._processor_class = None  # else AutoProcessor asks the folder for the source's whole processor
            if getattr(tool, "return_attention_mask", None) is False:
                tool.return_attention_mask = True  # as in `batch`: pipelines must tell padding from sound
            save_tokenizer(_limited(tool, self.max_length), folder)
        if self.target_tokenizer is not None and self.modality == "text":
            mark(Path(folder))
        if self.target_tokenizer is not None:
            limited = _limited(copy.copy(self.target_tokenizer), self.target_max_length)
            save_tokenizer(limited, Path(folder) / TARGET_FOLDER)


def _limited(tool: Any, max_length: int | None) -> Any:
    """The tool, which says itself how much the model takes: transformers' own pipelines ask nobody else."""
    if max_length is not None:
        tool.model_max_length = max_length
    return tool


def picture_sizes(side: Side, model: PreTrainedModel) -> dict[str, tuple[int, ...]]:
    """`Preparer.sizes` of a model whose samples are not wanted; empty where it has no image processor."""
    with suppress(ArtifactError):
        return Preparer.for_model(side, model).sizes() if modality(model) == "image" else {}
    return {}


def target_tokenizer(folder: str | Path) -> Any:
    """The target's tokenizer beneath the folder of a stitched model; None where there is none."""
    place = Path(folder) / TARGET_FOLDER
    return _load_tool("text", str(place), None) if place.is_dir() else None


def load_tools(kind: Modality, place: str, revision: str | None) -> tuple[Any, Any]:
    """What prepares the inputs of a model of that kind at `place`, and of a speech recogniser its tokenizer.

    Raises:
        ArtifactError: none is there, or none that can be read.
    """
    tool, speller = _load_tool(kind, place, revision), None
    if kind == "text" and (saved := SentenceTransformer.at(whole(place), revision)) is not None:
        tool = saved.reading(tool)
    if kind == "audio":
        with suppress(ArtifactError):
            # Of a recogniser; a sound model without one, such as a classifier, is as good.
            speller = _load_tool("text", place, revision)
    return tool, speller


def _load_tool(kind: Modality, place: str, revision: str | None) -> Any:
    """The tokenizer, feature extractor or image processor at `place`."""
    if kind == "vector":
        return None
    import transformers

    name = "AutoFeatureExtractor" if kind == "audio" else "AutoImageProcessor"
    what = {"audio": "feature extractor", "image": "image processor", "text": "tokenizer"}[kind]
    try:
        with quiet():
            if kind == "text":
                tool = load_tokenizer(place, revision=revision)
            else:
                tool = getattr(transformers, name).from_pretrained(place, revision=revision, trust_remote_code=False)
    except (OSError, ValueError, TypeError, KeyError, ImportError) as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ArtifactError(f"{place}: no {what} for this {kind} model ({why}); save one beside the model") from error
    if kind == "text" and set(tool.get_vocab()) <= {*tool.all_special_tokens, "|"}:
        # transformers makes an empty tokenizer where it finds no files
        raise ArtifactError(f"{place}: no tokenizer for this text model (no vocabulary); save one beside the model")
    return padding_token_given(tool, place) if kind == "text" else tool


def padding_token_given(tokenizer: Any, name: str) -> Any:
    """A tokenizer that pads, in place: GPT-2 and others have no token for it, and the mask says what is padding.

    Raises:
        ArtifactError: it has no end token that could stand there either.
    """
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise ArtifactError(f"{name}: the tokenizer has neither a padding nor an end token; set its pad_token")
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _minimum(config: Any) -> int:
    """Audio samples of one frame behind a stack of convolutions; 1 where the model has none."""
    config = config.encoder if hasattr(getattr(config, "encoder", None), "model_type") else config
    kernels, strides = getattr(config, "conv_kernel", None), getattr(config, "conv_stride", None)
    if not isinstance(kernels, list | tuple) or not isinstance(strides, list | tuple):
        return 1
    length = 1
    # The least input of one output, from the last convolution back to the first.
    for kernel, stride in zip(reversed(kernels), reversed(strides)):
        length = (length - 1) * stride + kernel
    return int(length)


def _max_length(tokenizer: Any, config: Any) -> int | None:
    """Most tokens that tokenizer and positions allow."""
    # Of composites the part that reads the text.
    config = next((c for c in _parts(config) if _positions(c)), config)
    limits = [getattr(tokenizer, "model_max_length", None), _positions(config)]
    if limits[1] and getattr(config, "model_type", "") in OFFSET_POSITIONS:
        limits[1] -= (config.pad_token_id or 0) + 1
    known = [int(limit) for limit in limits if limit and 0 < limit < UNLIMITED]
    return min(known, default=None)


def _parts(config: Any) -> list[Any]:
    return [config, *(getattr(config, name, None) for name in ("text_config", "encoder"))]


def _positions(config: Any) -> int | None:
    return next((limit for name in POSITIONS if (limit := getattr(config, name, None))), None)


POSITIONS = ("max_position_embeddings", "max_encoder_position_embeddings", "max_source_positions")
"""Names of configurations for how many positions a model of text has; LED and ProphetNet have names of their own."""

# Those that number positions by `create_position_ids_from_input_ids` in transformers.
OFFSET_POSITIONS = ("camembert", "data2vec-text", "longformer", "mpnet", "roberta", "xlm-roberta", "xlm-roberta-xl")
"""Model types whose positions start behind the padding id, so that they take fewer tokens than they have positions."""
