"""The length rule: which target positions there are, and which source timesteps each is made of.

The same rule works in the fit (`pairs`) and in the stitched model (`plan`). The target's real input is never needed at
run time: `target_length` says where its length comes from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from hf_stitch.activations.hooked_model import HookedModel
from hf_stitch.activations.windows import pool_windows
from hf_stitch.errors import ActivationError
from hf_stitch.hooks.position_limit import Cut, tell
from hf_stitch.loading.processors import Preparer
from hf_stitch.recipe.sequence import RULES
from hf_stitch.stitching.lengths.length_predictor import LengthPredictor
from hf_stitch.stitching.lengths.position_plan import MAPPED, MEAN, SPECIAL, Plan, batch_plan
from hf_stitch.stitching.lengths.rule import Pairs, RuleState, SampleShape, rule_class
from hf_stitch.stitching.lengths.special_tokens import SpecialTokens

FIRST_FORM = frozenset(
    "slice slicing parts stride ratio constant before after alphabet unit blanks pieces tokens_per_character".split()  # noqa: SIM905 - easier to read
)
"""Fields of single rules in the specs of the first saved form, which held those of all rules, whatever the rule."""

UNSAID = (("limit", None), ("cut_side", "right"), ("causal", False))
"""Fields that say nothing, which models saved before do not have."""


class LengthRule(nn.Module):
    """A length rule with what it learned; its tensors are those of the special tokens and of the predicted length."""

    def __init__(self, state: RuleState) -> None:
        super().__init__()
        self.state = state
        self.rule = rule_class(state.length).of(state)
        self.facts = RULES[state.length]
        self.special = SpecialTokens(state.special) if state.special else None
        self.predictor = LengthPredictor(state.predictor) if state.predictor else None

    @classmethod
    def from_spec(cls, spec: dict[str, Any]) -> LengthRule:
        """The empty rule of a spec, which may be of the first saved form.

        Raises:
            ArtifactError: a rule that is not known here.
        """
        made = rule_class(spec["length"]).State
        own = {one.name for one in fields(made)}
        # Of the first form the other rules' fields are dropped; a field that nobody knows is still an error.
        return cls(made(**{key: value for key, value in spec.items() if key in own or key not in FIRST_FORM}))

    def spec(self) -> dict[str, Any]:
        """JSON-able description from which `from_spec` builds the empty rule."""
        return {key: value for key, value in vars(self.state).items() if (key, value) not in UNSAID}

    def with_special(self, special: SpecialTokens | None) -> LengthRule:
        """The same rule with fitted special tokens."""
        return self._with(special, self.predictor)

    def with_predictor(self, predictor: LengthPredictor | None) -> LengthRule:
        """The same rule with a fitted predictor of lengths."""
        return self._with(self.special, predictor)

    def _with(self, special: SpecialTokens | None, predictor: LengthPredictor | None) -> LengthRule:
        rule = LengthRule(
            replace(
                self.state,
                special=special.spec if special else None,
                predictor=predictor.spec if predictor else None,
            )
        )
        rule.special, rule.predictor = special, predictor
        return rule

    @property
    def join(self) -> int:
        """Windows joined into one row: a row has `join` times the source's features."""
        return self.rule.join

    @property
    def steps(self) -> int:
        """Timesteps of the target in one row: what a layer maps to has `steps` times the target's features."""
        return self.rule.steps

    @property
    def needs_times(self) -> bool:
        """Whether the model takes the words of a sound with their times beside it."""
        return self.rule.needs_times

    def preparer(self, source: HookedModel, target: HookedModel) -> Preparer:
        """What prepares a stitched model's inputs: the source's, with the target's tokenizer where spans are needed."""
        if not self.facts.needs_target_spans:
            return source.preparer
        causal = bool(getattr(self.state, "causal", False))
        return source.preparer.with_target_tokenizer(target.tokenizer, self.state.limit, causal)

    def pairs(self, sample: SampleShape) -> Pairs:
        """Corresponding rows of one sample, for the fit."""
        return self.rule.pairs(sample)

    def plan(
        self,
        mask: Tensor,
        path: Tensor | None = None,
        spans: Tensor | None = None,
        target_lengths: Tensor | Sequence[int] | None = None,
        frames: Tensor | None = None,
    ) -> Plan:
        """Positions of the target for a batch.

        Args:
            mask: (b, t) bool, true timesteps of the source.
            path: (b, t) int64 greedy CTC classes, for rules that need a CTC head.
            spans: (b, t', 2) int64 from the processor, for rules that need spans.
            target_lengths: (b,) true lengths, for `target_length: oracle` only.
            frames: (b, t, m) source activations, for `target_length: predicted`.

        Raises:
            ActivationError: an input that the rule needs is missing.
        """
        # Padding on the left shifts a sample's timesteps; windows count from the first row of the padded batch.
        offset = mask.int().argmax(1).tolist()
        lengths = mask.sum(1).tolist()
        most = self.state.limit
        samples = []
        for i, wanted in enumerate(self._wanted(lengths, target_lengths, frames, mask)):
            start, length = offset[i], lengths[i]
            sample = SampleShape(length, wanted)
            if self.facts.needs_target_spans and spans is not None:
                sample = replace(sample, spans=spans[i].cpu().numpy())
            if self.facts.needs_ctc_head and path is not None:
                sample = replace(sample, path=path[i, start : start + length].cpu().numpy())
            if most is not None:
                if (wanted := self.rule.unlimited(sample)) > most:
                    tell(Cut(i, wanted, most), len(lengths))
                sample = replace(sample, target_length=min(sample.target_length, most))
            found = self.rule.positions(sample)
            samples.append(found._replace(windows=found.windows + start))
        # The target's own side: XLNet reads its last position, and RoBERTa counts positions from the first.
        plan = batch_plan(samples, self.state.padding_side)
        return Plan(plan.windows.to(mask.device), plan.kind.to(mask.device), plan.row.to(mask.device))

    def _wanted(self, lengths: list[int], given: Any, frames: Tensor | None, mask: Tensor) -> list[int]:
        """Wanted target lengths of a batch."""
        source = self.state.target_length
        if source == "oracle":
            if given is None:
                raise ActivationError("target_length: oracle needs `target_lengths`; use ratio where nobody knows them")
            return [int(length) for length in given]
        if source == "predicted":
            if self.predictor is None or frames is None:
                missing = "a fitted predictor" if self.predictor is None else "the source's `frames`"
                raise ActivationError(f"target_length: predicted needs {missing}; got none")
            return self.predictor(torch.tensor(lengths), masked_mean(frames, mask))
        return self.rule.target_lengths(lengths)

    def rows(self, frames: Tensor, plan: Plan) -> Tensor:
        """Source rows of a plan: (b, r, join * m)."""
        return pool_windows(frames, plan.windows)

    def assemble(self, mapped: Tensor, frames: Tensor, mask: Tensor, plan: Plan) -> Tensor:
        """Put mapped rows, mean padding and special tokens at their target positions.

        Args:
            mapped: (b, r, steps * width) what the layer made of `rows`.
            frames: (b, t, m) source activations; mask: (b, t) their real timesteps.

        Returns:
            (b, t', width); padding is zero.
        """
        b, r, joined = mapped.shape
        mapped = mapped.reshape(b, r * self.steps, joined // self.steps)
        index = torch.where(plan.kind == MAPPED, plan.row, 0)
        # A batch without any mapped row has only special tokens; `gather` takes no empty source.
        if mapped.shape[1] == 0:
            out = mapped.new_zeros(*plan.kind.shape, mapped.shape[2])
        else:
            out = mapped.gather(1, index.unsqueeze(-1).expand(-1, -1, mapped.shape[2]))
        is_mapped = (plan.kind == MAPPED).unsqueeze(-1)
        # Positions that are not mapped took row 0 above: cleared before the mean is taken.
        out = torch.where(is_mapped, out, 0)
        mean = out.sum(1, keepdim=True) / is_mapped.sum(1, keepdim=True).clamp(min=1)
        out = torch.where((plan.kind == MEAN).unsqueeze(-1), mean, out)
        where = plan.kind == SPECIAL
        if self.special is None or not bool(where.any()):
            return out
        pooled = masked_mean(frames, mask)
        values = self.special(plan.row[where], pooled[where.nonzero()[:, 0]])
        return out.masked_scatter(where.unsqueeze(-1), values.to(out.dtype))


def masked_mean(frames: Tensor, mask: Tensor) -> Tensor:
    """(b, m) mean over the real timesteps of (b, t, m)."""
    weight = mask.unsqueeze(-1)
    # where, not a product: padded timesteps may hold NaN
    return torch.where(weight, frames, 0).sum(1) / weight.sum(1).clamp(min=1)
