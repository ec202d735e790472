"""A stitched model whose target generates text: transformers' pipelines and saving go by this class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig
from transformers.utils import ModelOutput

from hf_stitch.hooks.generation import generate_from
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.models.routing import MAIN, right_padded
from hf_stitch.models.tasks import continues


class StitchedForGeneration(StitchedModel):
    """What `StitchedModel` makes and loads where the target generates from its hook point.

    The target is an encoder-decoder hooked inside its encoder, which then runs once, or a causal language model hooked
    at its token embedding, where the stitched activations are the prompt (padded on the left, whatever side they came
    on). `generation_config` is the target's own.
    """

    output_modalities = ("text",)

    @classmethod
    def can_generate(cls) -> bool:
        return True

    @property
    def generation_config(self) -> GenerationConfig:
        return self.suffix.generation_config

    @generation_config.setter
    def generation_config(self, settings: GenerationConfig) -> None:
        if "suffix" in self._modules:  # transformers sets one before the halves are there
            self.suffix.generation_config = settings

    def save_pretrained(self, save_directory: Any, **kwargs: Any) -> None:
        """As `StitchedModel.save_pretrained`, with the generation settings as they are now."""
        self.config.ends["suffix"]["generation"] = self.generation_config.to_diff_dict()
        super().save_pretrained(save_directory, **kwargs)

    def prompt(self, given: dict[str, Any]) -> Tensor | None:
        """The source's tokens (b, t) where the generated ones continue them in the same vocabulary, else None."""
        return given.get("input_ids") if continues(self.config) else None

    @torch.no_grad()
    def generate(
        self,
        inputs: Tensor | None = None,
        attention_mask: Tensor | None = None,
        target_spans: Tensor | None = None,
        target_lengths: Tensor | Sequence[int] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Source input in, the text that the target generates out.

        Args:
            inputs: the source's main input, which may also be given by its own name.
            attention_mask, target_spans, target_lengths: as in `forward`.
            kwargs: for the target's own `generate`: `num_beams`, `max_new_tokens`, `generation_config`, ...; without
                them its own generation settings hold.

        Returns:
            As the target's `generate`: tokens (b, t'). Of a causal model only the new ones, unless the source reads
            text in the target's own vocabulary: then they follow the source's tokens, as in transformers.

        Raises:
            HookError: the target does not generate from its hook point.
        """
        given = {name: kwargs.pop(name) for name in MAIN if name in kwargs}
        if inputs is not None:
            given[self.main_input_name] = inputs
        prompt = self.prompt(given)
        if target_spans is None and "input_ids" in given:
            given["input_ids"], attention_mask = right_padded(given["input_ids"], attention_mask)
        if attention_mask is not None:
            given["attention_mask"] = attention_mask
        frames, mask, path = self.activations(given)
        plan = self.plan(mask, path, target_spans, target_lengths, frames)
        values = self.stitch(frames, mask, plan)
        found = generate_from(self.suffix, self.config.ends["suffix"]["plan"], values, plan.mask, **kwargs)
        return found if prompt is None else _after(prompt, found)


def _after(prompt: Tensor, found: Any) -> Any:
    """Generated tokens behind those of the prompt, repeated for several answers to each."""
    tokens = found.sequences if isinstance(found, ModelOutput) else found
    whole = torch.cat([prompt.repeat_interleave(len(tokens) // len(prompt), 0).to(tokens), tokens], 1)
    if not isinstance(found, ModelOutput):
        return whole
    found.sequences = whole
    return found
