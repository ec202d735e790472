"""Statistics of activations: how near predicted rows come to true ones, resampled by sample."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from hf_stitch.errors import DataError
from hf_stitch.evaluation.statistics.intervals import Array, Interval, codes_of, ratio, same_length, some


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
    # Both sums are resampled, since the variance to explain is an estimate too.
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


def _rows(predictions: ArrayLike, references: ArrayLike) -> tuple[Array, Array]:
    x, y = (np.asarray(rows, dtype=np.float64) for rows in (predictions, references))
    if x.ndim != 2 or x.shape != y.shape:
        raise DataError(
            f"expected two arrays (n, m) of the same shape, received {x.shape} and {y.shape}; pair the rows"
        )
    some(len(x), "rows")
    return x, y


def _grouped(groups: ArrayLike | None, top: Array, bottom: Array) -> tuple[Array, Array]:
    """Sums of two columns (n,) over the rows of each group."""
    if groups is None:
        return top, bottom
    codes = codes_of(np.asarray(groups))[0]
    same_length(codes, top, bottom)
    return np.bincount(codes, weights=top), np.bincount(codes, weights=bottom)
