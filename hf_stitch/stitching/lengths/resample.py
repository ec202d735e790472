"""The length rule `resample`: the source is cut evenly into as many windows as the target has positions."""

from __future__ import annotations

import numpy as np

from hf_stitch.activations.windows import split_evenly
from hf_stitch.stitching.lengths.by_timestep import ByTimestep
from hf_stitch.stitching.lengths.rule import SampleShape


class Resample(ByTimestep):
    """Every position of the target is the average of its own stretch of the source."""

    @property
    def rate(self) -> float | None:
        # Only then is a position's place in the sound known without the other positions.
        return self.state.ratio if self.state.target_length == "ratio" and self.state.slice == 1 else None

    def _mapped(self, sample: SampleShape) -> int:
        return sample.target_length

    def _source(self, sample: SampleShape) -> np.ndarray:
        return split_evenly(0, sample.source_length, sample.target_length)


RULE = Resample
