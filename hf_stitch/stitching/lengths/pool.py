"""The length rule `pool`: the whole source, or `parts` averages of it joined, is one row and one target position."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hf_stitch.activations.frames import Frames
from hf_stitch.activations.hooked_model import HookedModel
from hf_stitch.activations.windows import split_evenly
from hf_stitch.recipe.sequence import Lengths
from hf_stitch.stitching.lengths.position_plan import MAPPED
from hf_stitch.stitching.lengths.rule import Pairs, Positions, Rule, RuleState, SampleShape, learned_by_all
from hf_stitch.stitching.lengths.target_texts import TargetTexts


@dataclass
class PoolState(RuleState):
    """The rule learns nothing; `parts` is the option."""

    parts: int = 1


class Pool(Rule):
    """One position; in the fit it is the mean of all timesteps of the target."""

    State = PoolState
    state: PoolState

    @classmethod
    def learn(
        cls, asked: Lengths, source: HookedModel, target: HookedModel, frames: Frames, texts: TargetTexts | None
    ) -> PoolState:
        return PoolState(**learned_by_all(asked, target), parts=asked.parts)

    @property
    def join(self) -> int:
        return self.state.parts

    def pairs(self, sample: SampleShape) -> Pairs:
        return Pairs(self._whole(sample), np.array([[[0, sample.target_length]]]), np.zeros(1, np.int64))

    def positions(self, sample: SampleShape) -> Positions:
        return Positions(self._whole(sample), np.array([MAPPED]), np.zeros(1, np.int64))

    def _whole(self, sample: SampleShape) -> np.ndarray:
        return split_evenly(0, sample.source_length, self.state.parts)[None]


RULE = Pool
