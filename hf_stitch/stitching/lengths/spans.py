"""The length rule `spans`: the input says which of the source's timesteps each token of the target shares.

Of texts these are tokens that share characters; of sound, ranges of audio samples from the times of the words.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hf_stitch.activations.aligned_tokens import in_the_middle
from hf_stitch.activations.frames import Frames
from hf_stitch.activations.hooked_model import HookedModel
from hf_stitch.activations.windows import split_evenly
from hf_stitch.errors import ActivationError, RecipeError
from hf_stitch.hooks.capture import capture
from hf_stitch.recipe.sequence import Lengths
from hf_stitch.stitching.lengths.position_plan import MAPPED, MEAN, SPECIAL
from hf_stitch.stitching.lengths.rule import (
    FRAMES_OF_A_WORD,
    Pairs,
    Positions,
    Rule,
    RuleState,
    SampleShape,
    learned_by_all,
)
from hf_stitch.stitching.lengths.target_texts import TargetTexts


@dataclass
class SpansState(RuleState):
    """The option `parts`, and what spans count.

    Attributes:
        stride: audio samples a timestep, where spans count those; 0 where they count timesteps.
        causal: no position is made of timesteps behind its own token, see `causal_spans`.
    """

    parts: int = 1
    stride: float = 0.0
    causal: bool = False


class Spans(Rule):
    """One position a token of the target: `parts` averages of the source timesteps of its span, joined."""

    State = SpansState
    state: SpansState
    special_tokens = True

    @classmethod
    def learn(
        cls, asked: Lengths, source: HookedModel, target: HookedModel, frames: Frames, texts: TargetTexts | None
    ) -> SpansState:
        stride = samples_per_frame(source) if source.preparer.modality == "audio" else 0.0
        known = learned_by_all(asked, target)
        return SpansState(**known, parts=asked.parts, stride=stride, causal=in_the_middle(target))

    @property
    def join(self) -> int:
        return self.state.parts

    @property
    def needs_times(self) -> bool:
        return self.state.stride > 0

    def pairs(self, sample: SampleShape) -> Pairs:
        spans, real = self._spans(sample)
        place = np.flatnonzero(real)
        return Pairs(self._windows(spans[place]), np.stack([place, place + 1], -1)[:, None], place)

    def positions(self, sample: SampleShape) -> Positions:
        spans, real = self._spans(sample)
        # -2 pads what the processor makes, 0 what transformers' pipelines put together; `batch_plan` pads anew.
        padding = (spans[:, 0] == -2) | (spans == 0).all(1)
        spans, real = spans[~padding], real[~padding]
        other = np.where(spans[:, 0] == -1, SPECIAL, MEAN)
        kind = np.where(real, MAPPED, other)
        row = np.where(real, np.cumsum(real) - 1, np.where(kind == SPECIAL, spans[:, 1], 0))
        return Positions(self._windows(spans[real]), kind, row)

    def typical(self, count: int, path: Tensor | None, device: torch.device) -> tuple[Tensor | None, Tensor | None]:
        """A token for each timestep of a text; of sound a word for every 16, in audio samples."""
        width = FRAMES_OF_A_WORD if self.needs_times else 1
        starts = torch.arange(0, count, width, device=device)
        spans = torch.stack([starts, starts + width], 1)[None]
        return path, (spans * self.state.stride).long() if self.needs_times else spans

    def _spans(self, sample: SampleShape) -> tuple[np.ndarray, np.ndarray]:
        """Ranges of timesteps (t', 2), and which of them are real: neither special tokens nor padding nor empty."""
        spans = sample.spans
        if spans is None and self.needs_times:
            raise ActivationError(
                "sequence.length: spans needs `target_spans`: the words of each sound with their times, made by "
                "Preparer.batch(sounds, said)"
            )
        if spans is None:
            raise ActivationError(
                "sequence.length: spans needs `target_spans` from the processor saved with the model; got none"
            )
        real = (spans[:, 0] >= 0) & (spans[:, 1] > spans[:, 0])
        if self.state.stride:
            last = sample.source_length - 1  # a word may end a little after the last timestep
            start = np.minimum(np.floor(spans[:, 0] / self.state.stride), last)
            end = np.clip(np.ceil(spans[:, 1] / self.state.stride), start + 1, last + 1)
            spans = np.where(real[:, None], np.stack([start, end], -1).astype(np.int64), spans)
        return spans, real

    def _windows(self, spans: np.ndarray) -> np.ndarray:
        return split_evenly(spans[:, 0], spans[:, 1], self.state.parts)


def samples_per_frame(source: HookedModel) -> float:
    """Audio samples from one timestep of the source's hook point to the next, found by running it on noise.

    Raises:
        RecipeError: a hook point with as many timesteps for any sound, in a window of unknown length.
    """
    rate, preparer = source.preparer.rate, source.preparer
    # Two lengths: what the convolutions lose at the edges cancels in the difference.
    noise = np.random.default_rng(0).standard_normal(10 * rate).astype(np.float32)
    frames, samples = [], []
    for seconds in (2, 10):
        inputs = {k: v.to(source.model.device) for k, v in preparer.batch([noise[: seconds * rate]]).items()}
        dtype = source.model.dtype
        inputs = {k: v.to(dtype) if v.is_floating_point() else v for k, v in inputs.items()}
        with torch.no_grad():
            frames.append(capture(source.model, [source.point], inputs)[0].shape[1])
        samples.append(seconds * rate)
    if frames[0] == frames[1]:  # it takes a window of one length and no other, as Whisper does
        window = getattr(preparer.tool, "chunk_length", None)
        if window is None:
            raise RecipeError(
                f"sequence.length: spans from sound needs timesteps that follow the sound; {source.side.model} has "
                f"{frames[0]} at {source.side.hook} for any sound: take another hook, or length: pool"
            )
        return float(window * rate / frames[0])
    return (samples[1] - samples[0]) / (frames[1] - frames[0])


RULE = Spans
