"""Texts as answers: the tokens that a model generates, or its greedy CTC path; and what the tokens spell.

A causal model that is hooked in the middle writes texts too, but is compared by what it says at each position.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import PreTrainedModel

from hf_stitch.activations.ctc import alphabet
from hf_stitch.activations.next_tokens import own_next_tokens
from hf_stitch.activations.ragged import Ragged
from hf_stitch.errors import HookError
from hf_stitch.hooks.finite_logits import check_logits, refusing_nan
from hf_stitch.hooks.generation import generation_way, left_padded
from hf_stitch.hooks.masks import timestep_mask
from hf_stitch.hooks.padded_suffix import finished, generated
from hf_stitch.hooks.padding import NEEDS_MASK, Padding
from hf_stitch.hooks.points import HookPoint
from hf_stitch.hooks.position_limit import within_positions
from hf_stitch.loading.model_classes import kind_name

Mode = Literal["encoder", "prompt", "middle", "ctc"]
MAX_NEW_TOKENS = 64  # where neither the recipe nor the model says; by hand
# Ids of transformers' configurations whose tokens are never part of a text.
SKIPPED = ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id", "forced_bos_token_id")


@dataclass(frozen=True)
class TextOutput:
    """How one model writes.

    Attributes:
        mode: it generates from its `encoder`, behind a `prompt`, or from the `middle` step by step; or it has a `ctc`
            head.
        skipped: tokens that are no part of the text: padding, start and end, or the blank of a CTC head.
        special: in the `middle` the tokens whose positions do not count.
    """

    mode: Mode
    skipped: tuple[int, ...]
    special: tuple[int, ...] = ()

    @classmethod
    def of(cls, model: PreTrainedModel, point: HookPoint) -> TextOutput | None:
        """How a model writes from activations at a hook point; None of one that gives logits a sample, or nothing."""
        config: Any = model.config
        if kind_name(type(model)).endswith("ForCTC"):
            return cls("ctc", (int(config.pad_token_id or 0),))
        try:
            return cls.generating(model, generation_way(model, point))
        except HookError:
            return None

    @classmethod
    def generating(cls, model: PreTrainedModel, mode: Mode) -> TextOutput:
        """How a model writes that generates in a known way."""
        config: Any = model.config
        named = [getattr(part, name, None) for part in (config, model.generation_config) for name in SKIPPED]
        flat = [token for found in named for token in (found if isinstance(found, list) else [found])]
        return cls(mode, tuple(sorted({int(token) for token in flat if token is not None})))

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> TextOutput:
        # The names of the first saved form, which saved models and cache keys hold.
        return cls(content["way"], tuple(content["silent"]), tuple(content.get("special", ())))

    def to_dict(self) -> dict[str, Any]:
        special = {"special": list(self.special)} if self.special else {}
        return {"way": self.mode, "silent": list(self.skipped), **special}

    def own(self, model: Any, inputs: Mapping[str, Tensor]) -> Ragged:
        """What the model writes on its own inputs: tokens (n,) int64 of each.

        In the `middle` what it says at each position, see `own_next_tokens`.
        """
        if self.mode == "middle":
            return own_next_tokens(model, inputs, self.special)
        if self.mode == "ctc":
            logits = model(**inputs).logits
            return self.path(logits, timestep_mask(model, inputs.get("attention_mask"), logits))
        if self.mode == "encoder":
            return self.kept(model.generate(**refusing_nan(model, dict(inputs))))
        tokens, mask = inputs["input_ids"], inputs["attention_mask"].bool()
        if not bool(mask.any()):  # no words at all, as of a cascade whose transcripts are empty
            return self.kept(tokens[:, :0])
        # Generation continues the last position, which must be a real one.
        prompt, seen = left_padded(tokens[..., None], mask)
        found = model.generate(**refusing_nan(model, {"input_ids": prompt[..., 0], "attention_mask": seen.long()}))
        return self.kept(found[:, prompt.shape[1] :])

    def from_middle(
        self, suffix: Any, plan: Mapping[str, Any], values: Tensor, mask: Tensor, padding: Padding = NEEDS_MASK
    ) -> Ragged:
        """What a cut model writes that has `values` (b, t, m) at its hook point, of which `mask` (b, t) is real.

        Raises:
            HookError: a CTC head whose frames are not the timesteps of the hook point.
        """
        if self.mode != "ctc":
            return self.kept(generated(suffix, plan, padding, values, mask))

        def run(values: Tensor, mask: Tensor | None) -> Ragged:
            assert mask is not None
            return self._heard(finished(suffix, plan, padding, values, mask).logits, mask)

        return within_positions(suffix, plan, values, mask, run)

    def _heard(self, logits: Tensor, mask: Tensor) -> Ragged:
        if logits.shape[1] != mask.shape[1]:
            raise HookError(
                f"the CTC head gives {logits.shape[1]} frames for {mask.shape[1]} timesteps at the hook point; "
                "hook a layer behind the feature extractor"
            )
        return self.path(logits, mask)

    def path(self, logits: Tensor, mask: Tensor) -> Ragged:
        """The greedy path of CTC logits (b, t, classes): repeated classes are one, blanks part and are left out."""
        check_logits(logits.masked_fill(~mask.to(logits.device)[..., None], 0), "the CTC head")
        best = logits.argmax(-1).cpu()
        return self._packed([row[seen].unique_consecutive() for row, seen in zip(best, mask.cpu())])

    def kept(self, tokens: Tensor) -> Ragged:
        """Generated tokens (b, t) without those that are no part of the text."""
        return self._packed(list(tokens.cpu()))

    def _packed(self, rows: Sequence[Tensor]) -> Ragged:
        skipped = torch.tensor(self.skipped)
        return Ragged.pack([row[~torch.isin(row, skipped)] for row in rows])

    def texts(self, tokens: Ragged, tokenizer: Any) -> list[str]:
        """What token sequences spell."""
        rows = [tokens[i].tolist() for i in range(len(tokens))]
        if self.mode == "ctc" and getattr(tokenizer, "word_delimiter_token", None):
            letters = alphabet(tokenizer)
            known = {**letters.symbols, letters.delimiter: " "}
            return [" ".join("".join(known.get(i, "") for i in row).split()) for row in rows]
        return [tokenizer.decode(row, skip_special_tokens=True).strip() for row in rows]


def configure_generation(model: PreTrainedModel, mode: Mode, asked: Mapping[str, Any]) -> None:
    """Set how a model generates, in place: as asked, and for the rest as it does itself; never by sampling."""
    settings: Any = model.generation_config
    # Two runs must give the same texts, and the stitched model the target's own where the activations are.
    settings.update(**{**asked, "do_sample": False})
    if settings.max_new_tokens is None and (settings.max_length is None or mode in ("prompt", "middle")):
        settings.max_new_tokens = MAX_NEW_TOKENS  # a length would count the prompt
    if settings.max_new_tokens is not None:
        settings.max_length = None
    for name in ("temperature", "top_k", "top_p", "typical_p", "min_p"):  # unused without sampling, warned of
        setattr(settings, name, None)


def generation_settings_of(model: PreTrainedModel) -> dict[str, Any]:
    """How a model generates, as plain data; what is saved with a stitched model."""
    found: dict[str, Any] = model.generation_config.to_diff_dict()
    return found
