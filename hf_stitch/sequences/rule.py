"""The length rule: which target positions there are, and which source timesteps each is made of.

The same rule works in the fit (`pairs`) and in the stitched model (`plan`). The target's real input is never needed at
run time: `target_length` says where its length comes from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hf_stitch.errors import ActivationError, RecipeError
from hf_stitch.sequences.ctc import CtcAlphabet, match_words, words_of
from hf_stitch.sequences.special import SpecialTokens
from hf_stitch.sequences.windows import MAPPED, MEAN, SPECIAL, Plan, batch_plan, pool_windows, split_evenly, steps

DEFAULT_LENGTH = {"trim": "ratio", "resample": "ratio", "pool": "constant", "ctc": "ctc", "spans": "spans"}


@dataclass(frozen=True)
class SampleShape:
    """What the rule needs to know of one sample in the fit.

    Attributes:
        source_length, target_length: timesteps.
        path: (t,) greedy CTC classes, for `ctc`.
        spans: (t', 2) source ranges of the target's tokens, for `spans`; (-1, id) marks a special token.
        words: true words, and `word_tokens` the target positions of each, for `ctc`.
    """

    source_length: int
    target_length: int
    path: np.ndarray | None = None
    spans: np.ndarray | None = None
    words: Sequence[str] = ()
    word_tokens: Sequence[Sequence[int]] = ()


@dataclass(frozen=True)
class Pairs:
    """Rows of one sample that correspond: source windows (r, K, 2), target windows (r, S, 2), positions (r,)."""

    source: np.ndarray
    target: np.ndarray
    position: np.ndarray
    dropped: int = 0


@dataclass
class RuleState:
    """Everything about a rule that is not a tensor; saved in the model's config."""

    length: str
    target_length: str
    slice: int = 1
    parts: int = 1
    ratio: float = 1.0
    constant: int = 1
    before: list[int] = field(default_factory=list)
    after: list[int] = field(default_factory=list)
    padding_side: str = "right"
    alphabet: dict | None = None
    special: dict | None = None


class LengthRule(nn.Module):
    """A length rule with what it learned; its tensors are those of the special tokens."""

    def __init__(self, state: RuleState) -> None:
        super().__init__()
        self.state = state
        self.alphabet = CtcAlphabet.from_dict(state.alphabet) if state.alphabet else None
        self.special = SpecialTokens(state.special) if state.special else None
        if state.slice > 1 and state.length not in ("trim", "resample"):
            raise RecipeError(f"sequence.slice: {state.slice} needs length trim or resample; got {state.length}")

    @classmethod
    def from_spec(cls, spec: dict[str, Any]) -> LengthRule:
        return cls(RuleState(**spec))

    def spec(self) -> dict[str, Any]:
        """JSON-able description from which `from_spec` builds the empty rule."""
        return dict(vars(self.state))

    def with_special(self, special: SpecialTokens | None) -> LengthRule:
        """The same rule with fitted special tokens."""
        rule = LengthRule(RuleState(**{**self.spec(), "special": special.spec if special else None}))
        rule.special = special
        return rule

    @property
    def join(self) -> int:
        """Windows joined into one row: a row has `join` times the source's features."""
        return self.state.parts if self.state.length == "ctc" else self.state.slice

    def pairs(self, sample: SampleShape) -> Pairs:
        """Corresponding rows of one sample, for the fit."""
        name, p = self.state.length, self.state.slice
        t, u = sample.source_length, sample.target_length
        if name in ("trim", "resample"):
            rows = (min(t, u) if name == "trim" else u) // p
            source = steps(rows, p, t) if name == "trim" else split_evenly(0, t, u)[: rows * p].reshape(rows, p, 2)
            return Pairs(source, steps(rows, p, u), np.arange(rows) * p)
        if name == "pool":
            return Pairs(np.array([[[0, t]]]), np.array([[[0, u]]]), np.zeros(1, np.int64))
        if name == "spans":
            spans = _needed(sample.spans, "spans")
            place = np.flatnonzero((spans[:, 0] >= 0) & (spans[:, 1] > spans[:, 0]))
            return Pairs(spans[place][:, None], np.stack([place, place + 1], -1)[:, None], place)
        return self._word_pairs(sample)

    def _word_pairs(self, sample: SampleShape) -> Pairs:
        heard = words_of(_needed(sample.path, "ctc"), self._alphabet)
        matched = match_words([word.text for word in heard], sample.words)
        matched = [(i, j) for i, j in matched if sample.word_tokens[j]]
        source = [split_evenly(heard[i].start, heard[i].end, self.state.parts) for i, _ in matched]
        tokens = [sample.word_tokens[j] for _, j in matched]
        target = [[[min(place), max(place) + 1]] for place in tokens]
        empty = np.zeros((0, self.state.parts, 2), np.int64), np.zeros((0, 1, 2), np.int64)
        return Pairs(
            np.stack(source) if source else empty[0],
            np.array(target) if target else empty[1],
            np.array([min(place) for place in tokens], np.int64),
            dropped=len(sample.words) - len(matched),
        )

    @property
    def _alphabet(self) -> CtcAlphabet:
        if self.alphabet is None:
            raise RecipeError("sequence.length: ctc needs a source with a CTC head; this one has none")
        return self.alphabet

    def plan(
        self,
        mask: Tensor,
        path: Tensor | None = None,
        spans: Tensor | None = None,
        target_lengths: Tensor | Sequence[int] | None = None,
    ) -> Plan:
        """Positions of the target for a batch.

        Args:
            mask: (b, t) bool, true timesteps of the source.
            path: (b, t) int64 greedy CTC classes, for `ctc`.
            spans: (b, t', 2) int64 from the processor, for `spans`.
            target_lengths: (b,) true lengths, for `target_length: oracle` only.

        Raises:
            ActivationError: an input that the rule needs is missing.
        """
        # Padding on the left shifts a sample's timesteps; windows count from the first row of the padded batch.
        offset = mask.int().argmax(1).tolist()
        lengths = mask.sum(1).tolist()
        samples = []
        for i, (start, length) in enumerate(zip(offset, lengths)):
            if self.state.length == "spans":
                samples.append(self._plan_spans(_needed(spans, "spans")[i].cpu().numpy()))
                continue
            if self.state.length == "ctc":
                row = _needed(path, "ctc")[i, start : start + length]
                windows, kind, place = self._plan_words(row.cpu().numpy())
            else:
                windows, kind, place = self._plan_steps(length, self._wanted(length, target_lengths, i))
            samples.append((windows + start, kind, place))
        side = "right" if self.state.length == "spans" else self.state.padding_side
        plan = batch_plan(samples, side)
        return Plan(plan.windows.to(mask.device), plan.kind.to(mask.device), plan.row.to(mask.device))

    def _wanted(self, length: int, target_lengths: Any, i: int) -> int:
        source = self.state.target_length
        if source == "oracle":
            if target_lengths is None:
                raise ActivationError("target_length: oracle needs `target_lengths`; use ratio where nobody knows them")
            return int(target_lengths[i])
        return self.state.constant if source == "constant" else max(1, round(self.state.ratio * length))

    def _plan_steps(self, length: int, wanted: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        name, p = self.state.length, self.state.slice
        if name == "pool":
            return np.array([[[0, length]]]), np.array([MAPPED]), np.zeros(1, np.int64)
        count = min(length, wanted) if name == "trim" else wanted
        rows = -(-count // p)
        even = split_evenly(0, length, wanted) if name == "resample" else None
        windows = steps(rows, p, length) if even is None else even[np.minimum(np.arange(rows * p), wanted - 1)]
        kind = np.where(np.arange(wanted) < count, MAPPED, MEAN)  # the thesis's mean padding past the source's end
        return windows.reshape(rows, p, 2), kind, np.where(kind == MAPPED, np.arange(wanted), 0)

    def _plan_words(self, path: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        words = words_of(path, self._alphabet)
        windows = [split_evenly(word.start, word.end, self.state.parts) for word in words]
        before, after = self.state.before, self.state.after
        kind = [SPECIAL] * len(before) + [MAPPED] * len(words) + [SPECIAL] * len(after)
        row = [*before, *range(len(words)), *after]
        if not kind:  # nothing was heard and the target has no special tokens: one position of silence
            windows, kind, row = [split_evenly(0, len(path), self.state.parts)], [MAPPED], [0]
        stacked = np.stack(windows) if windows else np.zeros((0, self.state.parts, 2), np.int64)
        return stacked, np.array(kind), np.array(row)

    def _plan_spans(self, spans: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        real = (spans[:, 0] >= 0) & (spans[:, 1] > spans[:, 0])
        kind = np.where(real, MAPPED, np.where(spans[:, 0] == -1, SPECIAL, np.where(spans[:, 0] == -2, 0, MEAN)))
        row = np.where(real, np.cumsum(real) - 1, np.where(kind == SPECIAL, spans[:, 1], 0))
        return spans[real][:, None], kind, row

    def rows(self, frames: Tensor, plan: Plan) -> Tensor:
        """Source rows of a plan: (b, r, join * m)."""
        return pool_windows(frames, plan.windows)

    def assemble(self, mapped: Tensor, frames: Tensor, mask: Tensor, plan: Plan) -> Tensor:
        """Put mapped rows, mean padding and special tokens at their target positions.

        Args:
            mapped: (b, r, slice * width) what the layer made of `rows`.
            frames: (b, t, m) source activations; mask: (b, t) their real timesteps.

        Returns:
            (b, t', width); padding is zero.
        """
        b, r, joined = mapped.shape
        mapped = mapped.reshape(b, r * self.state.slice, joined // self.state.slice)
        index = torch.where(plan.kind == MAPPED, plan.row, 0)
        if mapped.shape[1] == 0:
            out = mapped.new_zeros(*plan.kind.shape, mapped.shape[2])
        else:
            out = mapped.gather(1, index.unsqueeze(-1).expand(-1, -1, mapped.shape[2]))
        is_mapped = (plan.kind == MAPPED).unsqueeze(-1)
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


def _needed(value: Any, rule: str) -> Any:
    if value is None:
        what = {"spans": "`target_spans` from the processor saved with the model", "ctc": "the CTC head's output"}[rule]
        raise ActivationError(f"sequence.length: {rule} needs {what}; got none")
    return value
