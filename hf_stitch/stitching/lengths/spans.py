"""The length rule `spans`: the input says which of the source's timesteps each token of the target shares.

Of texts these are tokens that share characters; of sound, ranges of audio samples from the times of the words.
"""

from __future__ import annotations

import numpy as np

from hf_stitch.activations.windows import split_evenly
from hf_stitch.stitching.lengths.base import Pairs, Positions, Rule, SampleShape, needed
from hf_stitch.stitching.lengths.position_plan import MAPPED, MEAN, PADDING, SPECIAL


class Spans(Rule):
    """One position a token of the target: `parts` averages of the source timesteps of its span, joined."""

    shifted = False

    def pairs(self, sample: SampleShape) -> Pairs:
        spans, real = self._spans(sample)
        place = np.flatnonzero(real)
        return Pairs(self._windows(spans[place]), np.stack([place, place + 1], -1)[:, None], place)

    def positions(self, sample: SampleShape) -> Positions:
        spans, real = self._spans(sample)
        other = np.where(spans[:, 0] == -1, SPECIAL, np.where(spans[:, 0] == -2, PADDING, MEAN))
        kind = np.where(real, MAPPED, other)
        row = np.where(real, np.cumsum(real) - 1, np.where(kind == SPECIAL, spans[:, 1], 0))
        return Positions(self._windows(spans[real]), kind, row)

    def _spans(self, sample: SampleShape) -> tuple[np.ndarray, np.ndarray]:
        """Ranges of timesteps (t', 2), and which of them are real: neither special tokens nor padding nor empty."""
        spans = needed(sample.spans, "spans")
        real = (spans[:, 0] >= 0) & (spans[:, 1] > spans[:, 0])
        if self.state.stride:
            last = sample.source_length - 1  # a word may end a little after the last timestep
            start = np.minimum(np.floor(spans[:, 0] / self.state.stride), last)
            end = np.clip(np.ceil(spans[:, 1] / self.state.stride), start + 1, last + 1)
            spans = np.where(real[:, None], np.stack([start, end], -1).astype(np.int64), spans)
        return spans, real

    def _windows(self, spans: np.ndarray) -> np.ndarray:
        found = [split_evenly(int(start), int(end), self.state.parts) for start, end in spans]
        return np.stack(found) if found else np.zeros((0, self.state.parts, 2), np.int64)
