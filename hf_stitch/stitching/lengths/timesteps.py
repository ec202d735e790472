"""The length rules that know of timesteps alone: `trim`, `resample` and `pool`."""

from __future__ import annotations

import numpy as np

from hf_stitch.activations.windows import single_steps, split_evenly
from hf_stitch.stitching.lengths.base import Pairs, Positions, Rule, SampleShape
from hf_stitch.stitching.lengths.position_plan import MAPPED, MEAN
from hf_stitch.stitching.lengths.slicing import places, slices


class Trim(Rule):
    """Timestep by timestep as far as the source reaches, then the mean of what was mapped (the thesis's padding)."""

    @property
    def join(self) -> int:
        return self.state.slice

    def pairs(self, sample: SampleShape) -> Pairs:
        shared = self._mapped(sample)
        found = self._slices(shared)
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
        return min(sample.source_length, sample.target_length)

    def _source(self, sample: SampleShape) -> np.ndarray:
        """(n, 2) source window of each target position."""
        return single_steps(sample.source_length)


class Resample(Trim):
    """The source is cut evenly into as many windows as the target has positions."""

    def _mapped(self, sample: SampleShape) -> int:
        return sample.target_length

    def _source(self, sample: SampleShape) -> np.ndarray:
        return split_evenly(0, sample.source_length, sample.target_length)


class Pool(Rule):
    """The whole source, or `parts` averages of it joined, is one row and one target position."""

    def pairs(self, sample: SampleShape) -> Pairs:
        return Pairs(self._whole(sample), np.array([[[0, sample.target_length]]]), np.zeros(1, np.int64))

    def positions(self, sample: SampleShape) -> Positions:
        return Positions(self._whole(sample), np.array([MAPPED]), np.zeros(1, np.int64))

    def _whole(self, sample: SampleShape) -> np.ndarray:
        return split_evenly(0, sample.source_length, self.state.parts)[None]
