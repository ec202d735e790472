"""The length rule `trim`: timestep by timestep as far as the source reaches, then the mean of what was mapped.

The mean is the padding of Stroescu's thesis.
"""

from __future__ import annotations

import numpy as np

from hf_stitch.activations.windows import single_steps
from hf_stitch.stitching.lengths.by_timestep import ByTimestep
from hf_stitch.stitching.lengths.rule import SampleShape


class Trim(ByTimestep):
    """Position k of the target is made of timestep k of the source."""

    @property
    def rate(self) -> float | None:
        even = self.state.target_length == "ratio" and self.state.slice == 1 and self.state.ratio == 1
        return self.state.ratio if even else None

    def unlimited(self, sample: SampleShape) -> int:
        return self._mapped(sample)  # what is behind is the mean of these

    def _mapped(self, sample: SampleShape) -> int:
        return min(sample.source_length, sample.target_length)

    def _source(self, sample: SampleShape) -> np.ndarray:
        return single_steps(sample.source_length)


RULE = Trim
