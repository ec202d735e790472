"""Statistics of agreement between two classifiers, each with an interval: never a bare number.

Everything is seeded and deterministic, takes plain sequences, and returns plain Python floats. The rules:

- a share of samples has Wilson's score interval (Wilson 1927; never outside [0, 1], never without width);
- anything else has the percentile bootstrap over samples (Efron & Tibshirani 1993, chapter 13), 2000 resamples;
- two predictors on the same samples are compared in pairs: McNemar's exact test and the bootstrap of the difference.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from hf_stitch.errors import DataError

RESAMPLES = 2000
LEVEL = 0.95
_BATCH = 4_000_000  # numbers of one bootstrap batch held in memory at once

Array = NDArray[Any]
Labels = Sequence[Hashable] | NDArray[Any]


@dataclass(frozen=True, slots=True)
class Interval:
    """A value of `n` samples with its 95 % interval; a limit is None where the data say nothing about it."""

    value: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two predictors on the same samples: share right of the first minus that of the second; how often one alone is."""

    difference: Interval
    p_value: float
    only_first: int
    only_second: int


def wilson(successes: int, n: int, level: float = LEVEL) -> Interval:
    """Share `successes / n` with Wilson's score interval. Raises DataError for n = 0."""
    _some(n, "samples")
    if not 0 <= successes <= n:
        raise DataError(f"expected between 0 and {n} successes, received {successes}; count them among the samples")
    limits = stats.binomtest(int(successes), int(n)).proportion_ci(level, method="wilson")
    return Interval(successes / n, float(limits.low), float(limits.high), int(n))


def bootstrap(
    statistic: Callable[..., Any],
    *samples: ArrayLike,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap of `statistic(*samples, axis=-1)` over samples that belong together by position.

    Each of `samples` is (n,); the statistic must reduce the last axis of arrays (b, n). One sample alone says nothing
    about its own scatter: its interval is `bounds`, the range of the statistic (None where that is infinite).
    Raises DataError for no samples, different lengths, or a value that is not finite.
    """
    arrays = [np.asarray(s, dtype=np.float64).reshape(-1) for s in samples]
    n = _same_length(*arrays)
    value = float(statistic(*arrays, axis=-1))
    if not math.isfinite(value):
        raise DataError(f"expected a finite statistic, received {value} from {n} samples; look for NaN or zeros")
    if n == 1:
        low, high = bounds
    else:
        drawn = stats.bootstrap(
            arrays, statistic, paired=True, vectorized=True, axis=-1, n_resamples=RESAMPLES, confidence_level=LEVEL,
            method="percentile", batch=max(1, _BATCH // n), random_state=np.random.default_rng(seed),
        ).bootstrap_distribution  # fmt: skip
        low, high = _percentiles(drawn)
    return Interval(value, _finite(low), _finite(high), n)


def mean(values: ArrayLike, seed: int = 0) -> Interval:
    """Mean of one number per sample, e.g. squared errors (n,)."""
    return bootstrap(np.mean, values, seed=seed)


def ratio(numerators: ArrayLike, denominators: ArrayLike, seed: int = 0) -> Interval:
    """Sum of numerators over sum of denominators, one of each per sample, e.g. word errors over words."""
    return bootstrap(_ratio, numerators, denominators, seed=seed)


def mean_difference(first: ArrayLike, second: ArrayLike, seed: int = 0) -> Interval:
    """Mean of `first - second` over the same samples (paired bootstrap), e.g. of two models' squared errors."""
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    _same_length(a, b)
    return bootstrap(np.mean, a - b, seed=seed)


def agreement(predictions: Labels, references: Labels) -> Interval:
    """Share of samples on which both give the same label, with Wilson's interval."""
    return _Confusion.of(predictions, references).agreement()


def balanced_accuracy(predictions: Labels, references: Labels, seed: int = 0) -> Interval:
    """Mean over the references' classes of the share found (recall); chance is one over the number of classes."""
    confusion = _Confusion.of(predictions, references)
    return confusion.interval(_balanced, bounds=(0.0, 1.0), chance=0.0, seed=seed)


def kappa(predictions: Labels, references: Labels, seed: int = 0) -> Interval:
    """Cohen's kappa (Cohen 1960): agreement beyond what the two label frequencies alone would give.

    1 is perfect, 0 is chance. A constant predictor has exactly 0. Where both sides are constant and equal the formula
    is 0/0: the value is then 0 (nothing beyond chance was shown) and the interval is the whole range [-1, 1], as it is
    for one sample.
    """
    confusion = _Confusion.of(predictions, references)
    chance = confusion.chance()
    if chance >= 1.0 or confusion.n == 1:
        return Interval(0.0, -1.0, 1.0, confusion.n)
    return confusion.interval(_kappa, bounds=(-1.0, 1.0), chance=chance, seed=seed)


def majority(references: Labels) -> Interval:
    """Share of the commonest label: what always giving the same answer would score."""
    codes = _codes(references)[0]
    _some(len(codes), "references")
    return wilson(int(np.bincount(codes).max()), len(codes))


def compare(first: Labels, second: Labels, references: Labels, seed: int = 0) -> Comparison:
    """Compare two predictors on the same samples.

    The p-value is McNemar's exact one: a fair coin tossed once for each sample on which only one of the two is right.
    The interval of the difference resamples the table of outcomes with one sample added to each of the two discordant
    cells (Bonett & Price 2012), since a plain bootstrap of few or no discordant samples has no width.
    """
    a, b, truth = _codes(first, second, references)
    n = _same_length(a, b, truth)
    right_a, right_b = a == truth, b == truth
    only_a, only_b = int(np.sum(right_a & ~right_b)), int(np.sum(right_b & ~right_a))
    p_value = float(stats.binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    cells = np.array([only_a + 1, only_b + 1, n - only_a - only_b], dtype=np.float64)
    draws = np.random.default_rng(seed).multinomial(n, cells / (n + 2), size=RESAMPLES)
    low, high = _percentiles((draws[:, 0] - draws[:, 1]) / n)
    value = (only_a - only_b) / n
    return Comparison(Interval(value, min(low, value), max(high, value), n), p_value, only_a, only_b)


def r_squared(
    predictions: ArrayLike, references: ArrayLike, groups: ArrayLike | None = None, seed: int = 0
) -> Interval:
    """Share of the references' variance (n, m) that the predictions (n, m) explain; 1 is exact, 0 is their mean row.

    `groups` (n,) names the sample that each row came from: rows of one sample are resampled together, since timesteps
    of one utterance are not independent. Raises DataError when the reference rows are all alike.
    """
    x, y = _rows(predictions, references)
    power = ((y - y.mean(axis=0)) ** 2).sum(axis=1)
    if power.sum() == 0.0:
        raise DataError(
            f"expected at least two different reference rows, received {len(y)} alike; R2 does not exist there"
        )
    missed = ratio(*_grouped(groups, ((y - x) ** 2).sum(axis=1), power), seed=seed)
    low, high = (None if limit is None else 1.0 - limit for limit in (missed.high, missed.low))
    return Interval(1.0 - missed.value, low, high, missed.n)


def relative_error(
    predictions: ArrayLike, references: ArrayLike, groups: ArrayLike | None = None, seed: int = 0
) -> Interval:
    """Frobenius norm of the error over that of the references, both (n, m); `groups` as in `r_squared`."""
    x, y = _rows(predictions, references)
    square = ratio(*_grouped(groups, ((y - x) ** 2).sum(axis=1), (y**2).sum(axis=1)), seed=seed)
    low, high = (None if limit is None else math.sqrt(limit) for limit in (square.low, square.high))
    return Interval(math.sqrt(square.value), low, high, square.n)


def cosine(predictions: ArrayLike, references: ArrayLike, groups: ArrayLike | None = None, seed: int = 0) -> Interval:
    """Mean cosine between rows of (n, m) arrays, 0 for a row of zeros; `groups` as in `r_squared`."""
    x, y = _rows(predictions, references)
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    cosines = np.divide((x * y).sum(axis=1), norms, out=np.zeros_like(norms), where=norms > 0)
    return ratio(*_grouped(groups, cosines, np.ones_like(cosines)), seed=seed)


def correlation(first: ArrayLike, second: ArrayLike, seed: int = 0) -> Interval:
    """Pearson's correlation of two columns (n,); DataError where one of them is constant."""
    return bootstrap(_pearson, first, second, bounds=(-1.0, 1.0), seed=seed)


def _pearson(first: Array, second: Array, axis: int = -1) -> Array:
    a, b = first - first.mean(axis, keepdims=True), second - second.mean(axis, keepdims=True)
    size = np.sqrt((a**2).sum(axis) * (b**2).sum(axis))
    return np.divide((a * b).sum(axis), size, out=np.full_like(size, np.nan), where=size > 0)


@dataclass(frozen=True, slots=True)
class _Confusion:
    """Counts of (reference, prediction) pairs that occur: resampling samples is a multinomial draw over these cells."""

    rows: Array  # (cells,) reference codes
    columns: Array  # (cells,) prediction codes
    counts: Array  # (cells,)
    classes: int

    @classmethod
    def of(cls, predictions: Labels, references: Labels) -> _Confusion:
        columns, rows = _codes(predictions, references)
        _same_length(columns, rows)
        classes = int(max(rows.max(), columns.max())) + 1
        cells, counts = np.unique(rows * classes + columns, return_counts=True)
        return cls(cells // classes, cells % classes, counts, classes)

    @property
    def n(self) -> int:
        return int(self.counts.sum())

    def agreement(self) -> Interval:
        return wilson(int(self.counts[self.rows == self.columns].sum()), self.n)

    def chance(self) -> float:
        row, column, _ = self.marginals(self.counts[None, :])
        return float((row * column).sum() / self.n**2)

    def marginals(self, counts: Array) -> tuple[Array, Array, Array]:
        """Of draws (b, cells): reference counts, prediction counts and hits, each (b, classes)."""
        one_hot = np.eye(self.classes)
        hits = np.where((self.rows == self.columns)[:, None], one_hot[self.rows], 0.0)
        return counts @ one_hot[self.rows], counts @ one_hot[self.columns], counts @ hits

    def interval(
        self, statistic: Callable[[Array, Array, Array], Array], bounds: tuple[float, float], chance: float, seed: int
    ) -> Interval:
        """Bootstrap a statistic of the marginals; `chance` is the agreement at which the statistic is 0.

        When every sample agrees, or none does, all resamples are alike and would give no width; the statistic is then
        linear in the agreement, whose Wilson limits are carried over.
        """
        value = float(statistic(*self.marginals(self.counts[None, :]))[0])
        overall = self.agreement()
        if overall.value in (0.0, 1.0):
            ends = [(limit - chance) / (1.0 - chance) for limit in (overall.low, overall.high) if limit is not None]
            low, high = max(bounds[0], min(*ends, value)), min(bounds[1], max(*ends, value))
            return Interval(value, low, high, self.n)
        draws = np.random.default_rng(seed).multinomial(self.n, self.counts / self.n, size=RESAMPLES)
        low, high = _percentiles(statistic(*self.marginals(draws.astype(np.float64))))
        return Interval(value, low, high, self.n)


def _balanced(row: Array, column: Array, hits: Array) -> Array:
    present = row > 0
    recall = np.divide(hits, row, out=np.zeros_like(hits), where=present)
    result: Array = recall.sum(axis=-1) / present.sum(axis=-1)
    return result


def _kappa(row: Array, column: Array, hits: Array) -> Array:
    n = row.sum(axis=-1)
    observed, expected = hits.sum(axis=-1) / n, (row * column).sum(axis=-1) / n**2
    room = 1.0 - expected
    return np.divide(observed - expected, room, out=np.zeros_like(observed), where=room > 1e-12)


def _ratio(numerators: Array, denominators: Array, axis: int = -1) -> Array:
    top, bottom = np.sum(numerators, axis=axis), np.sum(denominators, axis=axis)
    return np.divide(top, bottom, out=np.full_like(bottom, np.nan), where=bottom != 0)


def _rows(predictions: ArrayLike, references: ArrayLike) -> tuple[Array, Array]:
    x, y = (np.asarray(rows, dtype=np.float64) for rows in (predictions, references))
    if x.ndim != 2 or x.shape != y.shape:
        raise DataError(
            f"expected two arrays (n, m) of the same shape, received {x.shape} and {y.shape}; pair the rows"
        )
    _some(len(x), "rows")
    return x, y


def _grouped(groups: ArrayLike | None, top: Array, bottom: Array) -> tuple[Array, Array]:
    """Sums of two columns (n,) over the rows of each group."""
    if groups is None:
        return top, bottom
    codes = _codes(np.asarray(groups))[0]
    _same_length(codes, top, bottom)
    return np.bincount(codes, weights=top), np.bincount(codes, weights=bottom)


def _codes(*columns: Labels) -> list[Array]:
    """Integer codes of several columns of labels, in one common numbering."""
    lists = [c.reshape(-1).tolist() if isinstance(c, np.ndarray) else list(c) for c in columns]
    numbers: dict[Hashable, int] = {}
    return [np.array([numbers.setdefault(label, len(numbers)) for label in c], dtype=np.int64) for c in lists]


def _percentiles(draws: Array) -> tuple[float, float]:
    """Central interval of the resamples; resamples on which the statistic does not exist are left out."""
    draws = draws[np.isfinite(draws)]
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _finite(limit: float) -> float | None:
    return float(limit) if math.isfinite(limit) else None


def _some(n: int, what: str) -> None:
    if n < 1:
        raise DataError(f"expected at least one of the {what}, received none; a statistic of nothing does not exist")


def _same_length(*columns: Array) -> int:
    lengths = [len(c) for c in columns]
    if len(set(lengths)) > 1:
        raise DataError(f"expected one entry per sample, received lengths {lengths}; pair the samples first")
    _some(lengths[0], "samples")
    return lengths[0]
