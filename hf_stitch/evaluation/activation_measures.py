"""How near mapped activations and coordinates come to the target's own, and how well the source recognises words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rapidfuzz.distance import Levenshtein
from torch import Tensor

from hf_stitch.evaluation.answer_kinds.base import Better, Scope
from hf_stitch.evaluation.statistics import activations, intervals
from hf_stitch.evaluation.statistics.intervals import Interval
from hf_stitch.report.measure import Measure

RESIDUAL_OF = 5  # coordinates, as many as the paper draws of its vector fields


def map_measures(method: str, mapped: Tensor, true: Tensor, scope: Scope, samples: np.ndarray) -> list[Measure]:
    """Difference of aligned diffusion coordinates (n, l): mean square in the scale phi_0 = 1, and the first five's norm
    over that of the target's, |phi O - psi| / |psi|."""
    square = (mapped - true).double().pow(2).mean(1).numpy()
    ours, theirs = [rows[:, :RESIDUAL_OF].double().numpy() for rows in (mapped, true)]
    groups = None if scope.groups is None else np.array(scope.groups)[samples]
    parts = Scope(scope.split, scope.direction, scope.seed, None if groups is None else list(groups)).parts(len(square))
    measures = []
    for split, rows in parts:
        found = {
            "map_mse": intervals.mean(square[rows], seed=scope.seed),
            "map_residual": activations.relative_error(ours[rows], theirs[rows], samples[rows], scope.seed),
        }
        measures += [scope.measure(name, method, split, value, "lower") for name, value in found.items()]
    return measures


def correlation_measures(method: str, mapped: Tensor, true: Tensor, scope: Scope) -> list[Measure]:
    """Correlation r of the first aligned coordinate (n, l) with the target map's own, and 1 - r, which tells good from
    better; none where either is constant."""
    a, b = (rows[:, 0].double().numpy() for rows in (mapped, true))
    if not (a.std() > 0 and b.std() > 0):
        return []
    found = intervals.correlation(a, b, seed=scope.seed)
    low, high = (None if end is None else 1 - end for end in (found.high, found.low))
    rest = Interval(1 - found.value, low, high, found.n)
    return [
        scope.measure("coordinate_correlation", method, scope.split, found),
        scope.measure("coordinate_misalignment", method, scope.split, rest, "lower"),
    ]


def fit_measures(method: str, sums: activations.RowSums, scope: Scope) -> list[Measure]:
    """How near predicted activations come to the target's own; rows of one sample are resampled together."""
    found: list[tuple[str, Interval, Better]] = [
        ("r2", sums.r_squared(scope.seed), "higher"),
        ("cosine", sums.cosine(scope.seed), "higher"),
        ("relative_error", sums.relative_error(scope.seed), "lower"),
    ]
    return [scope.measure(name, method, scope.split, value, better) for name, value, better in found]


def word_error_measures(transcripts: Sequence[str] | None, spoken: Sequence[str] | None, scope: Scope) -> list[Measure]:
    """Word error rate of the source's own transcripts; nothing where there are none, or nobody knows what was said."""
    if transcripts is None or spoken is None:
        return []
    errors = np.array([Levenshtein.distance(a.split(), b.split()) for a, b in zip(transcripts, spoken)], float)
    words = np.array([len(b.split()) for b in spoken], float)
    return [
        scope.measure("wer", "source", split, intervals.ratio(errors[rows], words[rows], seed=scope.seed), "lower")
        for split, rows in scope.parts(len(spoken))
    ]
