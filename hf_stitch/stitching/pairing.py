"""Which rows of the source correspond to which rows of the target, and the length rule that says so."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hf_stitch.activations.activation_set import ActivationSet
from hf_stitch.activations.frames import Frames
from hf_stitch.activations.hooked_model import HookedModel
from hf_stitch.activations.ragged import Ragged
from hf_stitch.activations.windows import pool_windows
from hf_stitch.errors import FitError
from hf_stitch.geometry.local_metrics.local_metric import LocalMetric
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.stitching.lengths.length_rule import LengthRule
from hf_stitch.stitching.lengths.rule import Pairs, SampleShape
from hf_stitch.stitching.lengths.target_texts import TargetTexts


@dataclass(frozen=True)
class Pairing:
    """Corresponding rows of a sample set.

    Attributes:
        pairs: per sample, the windows on both sides and the positions.
        keys: (n, 2) int64 (sample, position) of all rows.
        dropped: words of the true text that were not recognised.
    """

    pairs: tuple[Pairs, ...]
    keys: Tensor
    dropped: int

    def __len__(self) -> int:
        return len(self.keys)

    def swapped(self) -> Pairing:
        return replace(self, pairs=tuple(replace(p, source=p.target, target=p.source) for p in self.pairs))


def pair_rows(
    recipe: Recipe, rule: LengthRule, frames: Frames, keys: Sequence[str], texts: TargetTexts | None
) -> Pairing:
    """Corresponding rows of all samples, at most `per_sample` of each.

    Raises:
        FitError: no row corresponds.
    """
    if _single(frames, texts) and rule.join == 1:  # a rule is told of lengths alone: all samples are one
        one = rule.pairs(SampleShape(source_length=1, target_length=1))
        places = torch.stack([torch.arange(len(frames)), torch.zeros(len(frames), dtype=torch.long)], 1)
        return Pairing((one,) * len(frames), places, 0)
    paths = frames.forced if recipe.sequence.align == "forced" and frames.forced is not None else frames.path
    found, rows, dropped = [], [], 0
    for i in range(len(frames)):
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
        pairs = _capped(rule.pairs(shape), recipe.sequence.per_sample, recipe.seed, keys[i])
        found.append(pairs)
        rows += [[i, int(place)] for place in pairs.position]
        dropped += pairs.dropped
    if not rows:
        raise FitError(
            f"sequence.length: {recipe.sequence.length} found no corresponding rows in {len(frames)} samples; "
            "check that source and target inputs say the same, and that the source recognises its words"
        )
    return Pairing(tuple(found), torch.tensor(rows), dropped)


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


def rows_of(frames: Any, windows: Sequence[np.ndarray]) -> Tensor:
    """Rows (n, K * m) of all samples from their windows (r, K, 2)."""
    # Without timesteps all samples are one batch: no loop over them.
    flat = all(w is windows[0] for w in windows) and windows[0].tolist() == [[[0, 1]]]
    if flat and isinstance(frames, Ragged) and len(frames.values) == len(frames):
        return frames.values
    return torch.cat(
        [pool_windows(frames[i][None], torch.from_numpy(w)[None])[0] for i, w in enumerate(windows) if len(w)]
    )


def activation_sets(
    source: HookedModel,
    target: HookedModel,
    frames: Frames,
    pairing: Pairing,
    metrics: tuple[LocalMetric | None, LocalMetric | None],
) -> tuple[ActivationSet, ActivationSet]:
    """Both sides of the pairing as activation sets."""
    sides = []
    for end, ragged, windows, metric in (
        (source, frames.source, [p.source for p in pairing.pairs], metrics[0]),
        (target, frames.target, [p.target for p in pairing.pairs], metrics[1]),
    ):
        full = rows_of(ragged, windows)
        columns = columns_of(end, windows[0].shape[1])
        values = full if columns is None else full[:, list(columns)]
        sides.append(ActivationSet(values, pairing.keys, metric, None if columns is None else full, columns))
    first, second = sides
    # A map reads the source's selected features only; the rest would double the memory.
    return replace(first, full=None, selected=None), second


def columns_of(end: HookedModel, join: int) -> tuple[int, ...] | None:
    """Columns of a row of `join` windows that hold the selected features."""
    if end.features is None:
        return None
    return tuple(k * end.point.width + f for k in range(join) for f in end.features)
