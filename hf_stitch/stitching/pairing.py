"""Which rows of the source correspond to which rows of the target, and the length rule that says so."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import overload

import numpy as np
import torch
from torch import Tensor

from hf_stitch.activations.frames import Frames
from hf_stitch.activations.hooked_model import HookedModel
from hf_stitch.activations.ragged import Ragged
from hf_stitch.activations.windows import pool_windows
from hf_stitch.errors import FitError
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.stitching.lengths.length_rule import LengthRule
from hf_stitch.stitching.lengths.rule import Pairs, SampleShape
from hf_stitch.stitching.lengths.target_texts import TargetTexts

KEPT = 4096  # samples of which all pairs are kept; of more they are found anew when they are asked for. By hand


class SamplePairs(Sequence[Pairs]):
    """The pairs of each sample, found when they are asked for: of many timesteps they would fill the memory."""

    def __init__(self, find: Callable[[int], Pairs], samples: int) -> None:
        self._find, self._samples = find, samples

    def __len__(self) -> int:
        return self._samples

    @overload
    def __getitem__(self, i: int) -> Pairs: ...
    @overload
    def __getitem__(self, i: slice) -> list[Pairs]: ...
    def __getitem__(self, i: int | slice) -> Pairs | list[Pairs]:
        if isinstance(i, slice):
            return [self[k] for k in range(*i.indices(len(self)))]
        if not -len(self) <= i < len(self):
            raise IndexError(i)
        return self._find(i % len(self))


@dataclass(frozen=True)
class Pairing:
    """Corresponding rows of a sample set.

    Attributes:
        pairs: per sample, the windows on both sides and the positions.
        counts: (samples,) int64 rows of each sample, and `starts` those of the samples before it.
        dropped: words of the true text that were not recognised.
    """

    pairs: Sequence[Pairs]
    counts: Tensor
    dropped: int
    starts: Tensor = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "starts", self.counts.cumsum(0) - self.counts)

    def __len__(self) -> int:
        return int(self.counts.sum())

    @property
    def keys(self) -> Tensor:
        """(n, 2) int64 (sample, position) of all rows."""
        return self.keys_of(torch.arange(len(self)))

    def keys_of(self, rows: Tensor) -> Tensor:
        """(k, 2) int64 (sample, position) of rows (k,) by number."""
        samples, places = self.places(rows)
        here, which = samples.unique(return_inverse=True)
        if not len(here):
            return torch.empty(0, 2, dtype=torch.long)
        position = torch.from_numpy(np.concatenate([self.pairs[i].position for i in here.tolist()]))
        counts = self.counts[here]
        starts = counts.cumsum(0) - counts
        return torch.stack([samples, position[starts[which] + places]], 1)

    def places(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Sample (k,) of each row (k,), and which of that sample's rows it is."""
        samples = torch.searchsorted(self.starts + self.counts, rows, right=True)
        return samples, rows - self.starts[samples]

    def windows(self, sample: int, side: int) -> np.ndarray:
        """(r, K, 2) timesteps [start, end) of the source (0) or the target (1) of which a sample's rows are made."""
        pairs = self.pairs[sample]
        return pairs.target if side else pairs.source

    def swapped(self) -> Pairing:
        return replace(self, pairs=[_swapped(one) for one in self.pairs])


def _swapped(pairs: Pairs) -> Pairs:
    return replace(pairs, source=pairs.target, target=pairs.source)


def pair_rows(
    recipe: Recipe, rule: LengthRule, frames: Frames, keys: Sequence[str], texts: TargetTexts | None
) -> Pairing:
    """Corresponding rows of all samples, at most `per_sample` of each.

    Raises:
        FitError: no row corresponds.
    """
    if _single(frames, texts) and rule.join == 1:  # a rule is told of lengths alone: all samples are one
        one = rule.pairs(SampleShape(source_length=1, target_length=1))
        return Pairing((one,) * len(frames), torch.ones(len(frames), dtype=torch.long), 0)
    paths = frames.forced if recipe.sequence.align == "forced" and frames.forced is not None else frames.path

    def pairs_of(i: int) -> Pairs:
        shape = SampleShape(
            source_length=int(frames.source.lengths[i]),
            target_length=int(frames.target.lengths[i]),
            path=None if paths is None else paths[i].numpy(),
            spans=None if texts is None or texts.spans is None else texts.spans[i],
            words=() if texts is None else texts.words[i],
            word_tokens=() if texts is None else texts.word_tokens[i],
            word_cuts=() if texts is None else texts.cuts[i],
            blanks=() if texts is None else texts.blanks[i],
        )
        return _capped(rule.pairs(shape), recipe.sequence.per_sample, recipe.seed, keys[i])

    pairs: Sequence[Pairs] = SamplePairs(pairs_of, len(frames))
    # All or none: small things that are kept between blocks of rows would keep the memory of these from being reused.
    pairs = list(pairs) if len(pairs) <= KEPT else pairs
    counted = [(len(one.position), one.dropped) for one in pairs]
    rows, dropped = (sum(column) for column in zip(*counted))
    if not rows:
        raise FitError(
            f"sequence.length: {recipe.sequence.length} found no corresponding rows in {len(frames)} samples; "
            "check that source and target inputs say the same, and that the source recognises its words"
        )
    return Pairing(pairs, torch.tensor([count for count, _ in counted]), dropped)


def _single(frames: Frames, texts: TargetTexts | None) -> bool:
    """True when every sample has one timestep on both sides, as flat activations have: all pair alike."""
    lengths = torch.cat([frames.source.lengths, frames.target.lengths])
    return texts is None and frames.path is None and bool((lengths == 1).all())


def _capped(pairs: Pairs, most: int | None, seed: int, key: str) -> Pairs:
    if most is None or len(pairs.position) <= most:
        return pairs
    # By the sample's name, not its number: other samples or another order leave this one's rows as they were.
    name = int.from_bytes(hashlib.sha256(f"{seed}\0{key}".encode()).digest()[:8], "little")
    kept = np.sort(np.random.default_rng(name).choice(len(pairs.position), most, replace=False))
    return Pairs(pairs.source[kept], pairs.target[kept], pairs.position[kept], pairs.dropped)


def rows_of(frames: Ragged, windows: Sequence[np.ndarray]) -> Tensor:
    """Rows (n, K * m) of all samples from their windows (r, K, 2)."""
    # Without timesteps all samples are one batch: no loop over them.
    flat = all(w is windows[0] for w in windows) and windows[0].tolist() == [[[0, 1]]]
    if flat and len(frames.values) == len(frames):
        return frames.values
    return torch.cat(
        [pool_windows(frames[i][None], torch.from_numpy(w)[None])[0] for i, w in enumerate(windows) if len(w)]
    )


def columns_of(end: HookedModel, join: int) -> tuple[int, ...] | None:
    """Columns of a row of `join` windows that hold the selected features."""
    if end.features is None:
        return None
    return tuple(k * end.point.width + f for k in range(join) for f in end.features)
