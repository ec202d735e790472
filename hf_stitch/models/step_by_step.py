"""Generation where a causal target is hooked in the middle: both halves run anew for each token, on all tokens so far.

The blocks of the target before the hook point do not run, so that nothing holds keys and values of the prompt there;
what a new token has at the hook point comes from the source, which reads it as its own. That needs one vocabulary.
Nothing is kept from step to step: a step costs what a forward pass of the whole text costs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from hf_stitch.errors import ActivationError, ArtifactError, HookError
from hf_stitch.hooks.finite_logits import refusing_nan
from hf_stitch.hooks.generation import left_padded
from hf_stitch.hooks.position_limit import Cut, telling
from hf_stitch.models.routing import right_padded
from hf_stitch.models.tasks import continues, in_steps

CACHES = ("past_key_values", "cache", "cache_implementation", "cache_params", "cache_config")


class StepByStep(PreTrainedModel, GenerationMixin):
    """What transformers' `generate` runs: tokens so far in, logits (b, 1, V) of the next token out.

    Args:
        stitched: a stitched model whose source and target have the same tokens.
    """

    def __init__(self, stitched: Any) -> None:
        nn.Module.__init__(self)  # nothing of its own: no weights, and the configuration is the target's
        self.config = stitched.suffix.config
        self.stitched, self.generation_config = stitched, stitched.generation_config
        self.eval()

    def eval(self) -> StepByStep:
        """Set the mode of this alone: the stitched model stays in its own."""
        self.training = False
        return self

    main_input_name = "input_ids"

    @classmethod
    def can_generate(cls) -> bool:
        return True

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False

    def prepare_inputs_for_generation(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """All tokens so far, whatever step it is."""
        return {"input_ids": input_ids, "attention_mask": attention_mask}

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **kwargs: Any) -> CausalLMOutput:
        """Logits behind the last real token of each row.

        Raises:
            HookError: more tokens than either half has positions.
        """
        model = self.stitched
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        # In the order of the text: models count positions from the first real token.
        ids, moved = right_padded(input_ids, mask)
        inputs = {"input_ids": ids, "attention_mask": mask if moved is None else moved}
        with telling(self._refuse):
            try:
                frames, real, path = model.activations(inputs)
            except IndexError as error:
                kind = type(model.prefix).__name__
                raise HookError(f"{kind} has too few positions for {ids.shape[1]} tokens; {FEWER}") from error
            plan = model.plan(real, path, None, None, frames)
            logits = model.finish(model.stitch(frames, real, plan), plan.mask).logits
        place = torch.arange(plan.mask.shape[1], device=logits.device)
        last = torch.where(plan.mask, place, -1).argmax(1)
        return CausalLMOutput(logits=logits[torch.arange(len(logits), device=logits.device), last][:, None])

    def _refuse(self, cut: Cut) -> None:
        kind = type(self.stitched.suffix).__name__
        raise HookError(f"{kind} takes {cut.takes} positions, and {cut.came} tokens are asked for; {FEWER}")


FEWER = "ask for fewer new ones (max_new_tokens), or give a shorter text"


def generated_in_steps(model: Any, given: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
    """What a stitched model generates behind the tokens of its source.

    Args:
        given: inputs of the source. settings: for transformers' `generate`.

    Returns:
        As transformers' `generate`: tokens (b, t'), those of the source included.

    Raises:
        ArtifactError: source and target have other tokens. HookError: a cache is asked for, or more tokens than there
            are positions. ActivationError: other inputs than tokens, or NaN among the logits.
    """
    if not continues(model.config):
        shared = model.config.ends["suffix"].get("shares_tokens")
        ends = " and ".join(type(half).__name__ for half in (model.prefix, model.suffix))
        what = f"{ends} are aligned by spans" if shared else f"{ends} have other tokens"
        raise ArtifactError(
            f"{what}: in the middle of a causal model the source would have to read each new token, so nothing is "
            "generated; ask the model for its logits, and `hf-stitch evaluate` for what they are worth. To generate, "
            "fit with sequence.length: trim between models of the same tokens, or hook the target's token embedding"
        )
    asked = [name for name in CACHES if settings.get(name) is not None]
    asked += ["use_cache"] if settings.get("use_cache") else []
    if asked:
        raise HookError(
            f"{asked[0]}: in the middle of a causal model no keys and values can be kept, for the blocks before the "
            "hook point do not run: leave it out, or give use_cache=False"
        )
    other = [name for name in given if name not in ("input_ids", "attention_mask")]
    if other or given.get("input_ids") is None:
        came = f"got {other[0]}" if other else "got none"
        raise ActivationError(f"a stitched causal model generates from input_ids (and their attention_mask); {came}")
    ids = given["input_ids"]
    mask = given.get("attention_mask")
    mask = torch.ones_like(ids) if mask is None else mask
    steps, (tokens, seen) = StepByStep(model), left_padded(ids[..., None], mask.bool())
    room = _room(steps, seen, settings)
    asked_for = refusing_nan(model.suffix, {**settings, **room, "use_cache": False})
    found = steps.generate(input_ids=tokens[..., 0], attention_mask=seen.long(), **asked_for)
    return _behind(ids, tokens.shape[1], found)


def _room(steps: StepByStep, seen: Tensor, settings: Mapping[str, Any]) -> dict[str, int]:
    """The most new tokens there are positions for, where fewer than the model's own settings ask for; else nothing.

    Raises:
        HookError: more were asked for in this call than there are positions, which is tried before they are made.
    """
    own = settings.get("generation_config") or steps.generation_config
    named = [settings.get(name) for name in ("max_new_tokens", "max_length")]
    new = named[0] if named[0] is not None else getattr(own, "max_new_tokens", None)
    limits, longest = [limit for limit in _positions(steps.stitched) if limit], int(seen.sum(1).max())
    left = min(limits, default=longest + 1) - longest + 1  # the last new token takes no position
    if new is None or int(new) <= left or not limits or named[1] is not None:
        return {}
    if named[0] is None and left > 0:
        return {"max_new_tokens": left}
    with torch.no_grad():
        steps(torch.zeros(1, longest + int(new) - 1, dtype=torch.long, device=seen.device))
    return {}


def _positions(model: Any) -> list[int | None]:
    """How many positions source and target say that they have, and how many tokens the target's tokenizer takes."""
    configs = [half.config.get_text_config() for half in (model.prefix, model.suffix)]
    return [*(getattr(one, "max_position_embeddings", None) for one in configs), model.rule.state.limit]


def _behind(prompt: Tensor, length: int, found: Any) -> Any:
    """What was generated, behind the prompt as it was given: its padding was moved to its front."""
    tokens = found if isinstance(found, Tensor) else found.sequences
    whole = torch.cat([prompt.repeat_interleave(len(tokens) // len(prompt), 0), tokens[:, length:]], 1)
    if isinstance(found, Tensor):
        return whole
    found.sequences = whole
    return found


def generation_notes(config: PretrainedConfig) -> list[str]:
    """What a reader of a report should know of how a causal target in the middle generates; nothing of others."""
    if not in_steps(config):
        return []
    cache = config.ends["suffix"]["cache"]
    if not continues(config):
        why = "aligned by spans" if config.ends["suffix"].get("shares_tokens") else "of other tokens than the target's"
        return [f"generation: none, for the source, {why}, reads no new token (cache: {cache})"]
    return [f"generation: both halves run on all tokens so far for each new one (cache: {cache})"]
