"""Statistics of activations: how near predicted rows come to true ones, resampled by sample."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from hf_stitch.errors import DataError
from hf_stitch.evaluation.statistics.intervals import Array, Interval, codes_of, ratio, same_length, some


class RowSums:
    """Sums over the rows of each sample, taken in block by block, from which the measures of a map follow.

    Rows of one sample are resampled together, since timesteps of one utterance are not independent.

    Args:
        mean: (m,) of the references: R2 is of what varies round it.
        samples: how many there are; of some there may be no row.
    """

    def __init__(self, mean: Array, samples: int) -> None:
        self.mean = mean
        self._count, self._missed, self._varied, self._size, self._cosines = (np.zeros(samples) for _ in range(5))

    def add(self, predictions: Array, references: Array, samples: Array) -> None:
        """Take in rows (b, m) and the numbers (b,) of the samples that they belong to."""
        x, y = predictions, references
        norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
        cosines = np.divide((x * y).sum(axis=1), norms, out=np.zeros_like(norms), where=norms > 0)
        self._count += self._by_sample(samples, np.ones_like(cosines))
        self._missed += self._by_sample(samples, ((y - x) ** 2).sum(axis=1))
        self._varied += self._by_sample(samples, ((y - self.mean) ** 2).sum(axis=1))
        self._size += self._by_sample(samples, (y**2).sum(axis=1))
        self._cosines += self._by_sample(samples, cosines)

    def r_squared(self, seed: int = 0) -> Interval:
        """Share of the references' variance that the predictions explain; 1 is exact, 0 is their mean row.

        Raises:
            DataError: the reference rows are all alike.
        """
        if self._varied.sum() == 0.0:
            raise DataError(
                f"expected at least two different reference rows, received {int(self._count.sum())} alike; R2 does not "
                "exist there"
            )
        # Both sums are resampled, since the variance to explain is an estimate too.
        missed = self._ratio(self._missed, self._varied, seed)
        low, high = (None if limit is None else 1.0 - limit for limit in (missed.high, missed.low))
        return Interval(1.0 - missed.value, low, high, missed.n)

    def relative_error(self, seed: int = 0) -> Interval:
        """Frobenius norm of the error over that of the references."""
        square = self._ratio(self._missed, self._size, seed)
        low, high = (None if limit is None else math.sqrt(limit) for limit in (square.low, square.high))
        return Interval(math.sqrt(square.value), low, high, square.n)

    def cosine(self, seed: int = 0) -> Interval:
        """Mean cosine between rows, 0 for a row of zeros."""
        return self._ratio(self._cosines, self._count, seed)

    def _by_sample(self, samples: Array, rows: Array) -> Array:
        return np.bincount(samples, weights=rows, minlength=len(self._count))

    def _ratio(self, top: Array, bottom: Array, seed: int) -> Interval:
        there = self._count > 0
        return ratio(top[there], bottom[there], seed=seed)


def r_squared(
    predictions: ArrayLike, references: ArrayLike, groups: ArrayLike | None = None, seed: int = 0
) -> Interval:
    """As `RowSums.r_squared`, of rows (n, m); `groups` (n,) names the sample of each, absent: each is one."""
    return _summed(predictions, references, groups).r_squared(seed)


def relative_error(
    predictions: ArrayLike, references: ArrayLike, groups: ArrayLike | None = None, seed: int = 0
) -> Interval:
    """As `RowSums.relative_error`, of rows (n, m); `groups` as in `r_squared`."""
    return _summed(predictions, references, groups).relative_error(seed)


def cosine(predictions: ArrayLike, references: ArrayLike, groups: ArrayLike | None = None, seed: int = 0) -> Interval:
    """As `RowSums.cosine`, of rows (n, m); `groups` as in `r_squared`."""
    return _summed(predictions, references, groups).cosine(seed)


def _summed(predictions: ArrayLike, references: ArrayLike, groups: ArrayLike | None) -> RowSums:
    x, y = _rows(predictions, references)
    codes = np.arange(len(x)) if groups is None else codes_of(np.asarray(groups))[0]
    same_length(codes, x)
    sums = RowSums(y.mean(axis=0), int(codes.max()) + 1)
    sums.add(x, y, codes)
    return sums


def _rows(predictions: ArrayLike, references: ArrayLike) -> tuple[Array, Array]:
    x, y = (np.asarray(rows, dtype=np.float64) for rows in (predictions, references))
    if x.ndim != 2 or x.shape != y.shape:
        raise DataError(
            f"expected two arrays (n, m) of the same shape, received {x.shape} and {y.shape}; pair the rows"
        )
    some(len(x), "rows")
    return x, y
