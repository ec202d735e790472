"""What `trim` and `resample` share: one target position after the other, a slice of timesteps at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hf_stitch.activations.frames import Frames
from hf_stitch.activations.hooked_model import HookedModel
from hf_stitch.activations.windows import single_steps
from hf_stitch.recipe.sequence import Lengths
from hf_stitch.stitching.lengths.position_plan import MAPPED, MEAN
from hf_stitch.stitching.lengths.rule import Pairs, Positions, Rule, RuleState, SampleShape, learned_by_all
from hf_stitch.stitching.lengths.slicing import places, slices
from hf_stitch.stitching.lengths.target_texts import TargetTexts


@dataclass
class ByTimestepState(RuleState):
    """The options of slices, and what the fit says of lengths.

    Attributes:
        ratio: target timesteps a source timestep; constant the median target length of the fit.
    """

    slice: int = 1
    slicing: str = "windows"
    ratio: float = 1.0
    constant: int = 1


class ByTimestep(Rule):
    """Target positions are mapped one by one, as far as `_mapped` says; the rest get the mean of those."""

    State = ByTimestepState
    state: ByTimestepState

    @classmethod
    def learn(
        cls, asked: Lengths, source: HookedModel, target: HookedModel, frames: Frames, texts: TargetTexts | None
    ) -> ByTimestepState:
        s, t = frames.source.lengths.double(), frames.target.lengths.double()
        return ByTimestepState(
            **learned_by_all(asked, target),
            slice=asked.slice,
            slicing=asked.slicing,
            ratio=float((s @ t) / (s @ s)),  # least squares through the origin
            constant=int(t.median()),
        )

    @property
    def join(self) -> int:
        return self.state.slice

    @property
    def steps(self) -> int:
        return self.state.slice

    def target_lengths(self, lengths: Sequence[int]) -> list[int]:
        if self.state.target_length == "constant":
            return [self.state.constant] * len(lengths)
        return [max(1, round(self.state.ratio * length)) for length in lengths]

    def pairs(self, sample: SampleShape) -> Pairs:
        shared = self._mapped(sample)
        found = self._slices(shared)
        # A slice that is filled up with repeats is for run time; in the fit it would teach that nothing moves.
        if shared < self.state.slice:
            found = found[:0]
        elif self.state.slicing == "windows":
            found = found[: shared // self.state.slice]  # no timestep serves twice in the fit
        return Pairs(self._source(sample)[found], single_steps(sample.target_length)[found], found[:, 0])

    def positions(self, sample: SampleShape) -> Positions:
        mapped, wanted = self._mapped(sample), sample.target_length
        kind = np.where(np.arange(wanted) < mapped, MAPPED, MEAN)
        row = np.zeros(wanted, np.int64)
        row[:mapped] = places(mapped, self.state.slice, self.state.slicing)
        return Positions(self._source(sample)[self._slices(mapped)], kind, row)

    def _slices(self, count: int) -> np.ndarray:
        return slices(count, self.state.slice, self.state.slicing)

    def _mapped(self, sample: SampleShape) -> int:
        """Target positions that are mapped."""
        raise NotImplementedError

    def _source(self, sample: SampleShape) -> np.ndarray:
        """(n, 2) source window of each target position."""
        raise NotImplementedError
