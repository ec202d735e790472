"""Values with intervals: shares, means, ratios, correlations; and what all statistics are made of."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from hf_stitch.errors import DataError

RESAMPLES = 2000  # by hand; percentile intervals want at least 1,000 (Efron & Tibshirani 1993)
LEVEL = 0.95  # the convention
_BATCH = 4_000_000  # numbers of one bootstrap batch held in memory at once: 32 MB; by hand

Array = NDArray[Any]
Labels = Sequence[Hashable] | NDArray[Any]


@dataclass(frozen=True, slots=True)
class Interval:
    """A value of `n` samples with its 95 % interval; a limit is None where the data say nothing about it."""

    value: float
    low: float | None
    high: float | None
    n: int


def wilson(successes: int, n: int, level: float = LEVEL) -> Interval:
    """Share `successes / n` with Wilson's score interval. Raises DataError for n = 0."""
    some(n, "samples")
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
    n = same_length(*arrays)
    value = float(statistic(*arrays, axis=-1))
    if not math.isfinite(value):
        raise DataError(f"expected a finite statistic, received {value} from {n} samples; look for NaN or zeros")
    if n == 1:
        low, high = bounds
    else:
        # `random_state`: later versions of SciPy call it `rng`, but take the old name too. Only the draws are taken:
        # SciPy's own limits are NaN where the statistic does not exist on a single resample.
        drawn = stats.bootstrap(
            arrays, statistic, paired=True, vectorized=True, axis=-1, n_resamples=RESAMPLES, confidence_level=LEVEL,
            method="percentile", batch=max(1, _BATCH // n), random_state=np.random.default_rng(seed),
        ).bootstrap_distribution  # fmt: skip
        low, high = percentiles(drawn)
    return Interval(value, _finite(low), _finite(high), n)


def mean(values: ArrayLike, seed: int = 0) -> Interval:
    """Mean of one number per sample, e.g. squared errors (n,)."""
    return bootstrap(np.mean, values, seed=seed)


def quantile(values: ArrayLike, share: float, seed: int = 0) -> Interval:
    """The value (n,) below which that share lies, with steps between neighbours, e.g. 0.5: the median."""
    return bootstrap(functools.partial(np.quantile, q=share), values, seed=seed)


def ratio(numerators: ArrayLike, denominators: ArrayLike, seed: int = 0) -> Interval:
    """Sum of numerators over sum of denominators, one of each per sample, e.g. word errors over words."""
    return bootstrap(_ratio, numerators, denominators, seed=seed)


def correlation(first: ArrayLike, second: ArrayLike, seed: int = 0) -> Interval:
    """Pearson's correlation of two columns (n,); DataError where one of them is constant."""
    return bootstrap(_pearson, first, second, bounds=(-1.0, 1.0), seed=seed)


def _pearson(first: Array, second: Array, axis: int = -1) -> Array:
    a, b = first - first.mean(axis, keepdims=True), second - second.mean(axis, keepdims=True)
    size = np.sqrt((a**2).sum(axis) * (b**2).sum(axis))
    return np.divide((a * b).sum(axis), size, out=np.full_like(size, np.nan), where=size > 0)


def _ratio(numerators: Array, denominators: Array, axis: int = -1) -> Array:
    top, bottom = np.sum(numerators, axis=axis), np.sum(denominators, axis=axis)
    return np.divide(top, bottom, out=np.full_like(bottom, np.nan), where=bottom != 0)


def codes_of(*columns: Labels) -> list[Array]:
    """Integer codes of several columns of labels, in one common numbering."""
    lists = [c.reshape(-1).tolist() if isinstance(c, np.ndarray) else list(c) for c in columns]
    numbers: dict[Hashable, int] = {}
    return [np.array([numbers.setdefault(label, len(numbers)) for label in c], dtype=np.int64) for c in lists]


def percentiles(draws: Array) -> tuple[float, float]:
    """Central interval of the resamples; resamples on which the statistic does not exist are left out."""
    draws = draws[np.isfinite(draws)]
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _finite(limit: float) -> float | None:
    return float(limit) if math.isfinite(limit) else None


def some(n: int, what: str) -> None:
    if n < 1:
        raise DataError(f"expected at least one of the {what}, received none; a statistic of nothing does not exist")


def same_length(*columns: Array) -> int:
    lengths = [len(c) for c in columns]
    if len(set(lengths)) > 1:
        raise DataError(f"expected one entry per sample, received lengths {lengths}; pair the samples first")
    some(lengths[0], "samples")
    return lengths[0]
