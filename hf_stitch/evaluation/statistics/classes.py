"""Statistics of labels: agreement, balanced accuracy, kappa, and two predictors on the same samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from hf_stitch.evaluation.statistics.intervals import (
    RESAMPLES,
    Array,
    Interval,
    Labels,
    codes_of,
    percentiles,
    same_length,
    some,
    wilson,
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two predictors on the same samples: share right of the first minus that of the second; how often one alone is."""

    difference: Interval
    p_value: float
    only_first: int
    only_second: int


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
    codes = codes_of(references)[0]
    some(len(codes), "references")
    return wilson(int(np.bincount(codes).max()), len(codes))


def compare(first: Labels, second: Labels, references: Labels, seed: int = 0) -> Comparison:
    """Compare two predictors on the same samples.

    The p-value is McNemar's exact one: a fair coin tossed once for each sample on which only one of the two is right.
    The interval of the difference resamples the table of outcomes with one sample added to each of the two discordant
    cells (Bonett & Price 2012), since a plain bootstrap of few or no discordant samples has no width.
    """
    a, b, truth = codes_of(first, second, references)
    n = same_length(a, b, truth)
    right_a, right_b = a == truth, b == truth
    only_a, only_b = int(np.sum(right_a & ~right_b)), int(np.sum(right_b & ~right_a))
    p_value = float(stats.binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    cells = np.array([only_a + 1, only_b + 1, n - only_a - only_b], dtype=np.float64)
    draws = np.random.default_rng(seed).multinomial(n, cells / (n + 2), size=RESAMPLES)
    low, high = percentiles((draws[:, 0] - draws[:, 1]) / n)
    value = (only_a - only_b) / n
    return Comparison(Interval(value, min(low, value), max(high, value), n), p_value, only_a, only_b)


@dataclass(frozen=True, slots=True)
class _Confusion:
    """Counts of (reference, prediction) pairs that occur: resampling samples is a multinomial draw over these cells."""

    rows: Array  # (cells,) reference codes
    columns: Array  # (cells,) prediction codes
    counts: Array  # (cells,)
    classes: int

    @classmethod
    def of(cls, predictions: Labels, references: Labels) -> _Confusion:
        columns, rows = codes_of(predictions, references)
        same_length(columns, rows)
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
        # Matrix products over the cells: all resamples at once, without a loop over them.
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
        low, high = percentiles(statistic(*self.marginals(draws.astype(np.float64))))
        return Interval(value, low, high, self.n)


def _balanced(row: Array, column: Array, hits: Array) -> Array:
    present = row > 0
    # A resample may miss a class: the mean is over those that are there.
    recall = np.divide(hits, row, out=np.zeros_like(hits), where=present)
    result: Array = recall.sum(axis=-1) / present.sum(axis=-1)
    return result


def _kappa(row: Array, column: Array, hits: Array) -> Array:
    n = row.sum(axis=-1)
    observed, expected = hits.sum(axis=-1) / n, (row * column).sum(axis=-1) / n**2
    room = 1.0 - expected
    # A resample may hold one class only, where kappa is 0/0: it counts as 0, nothing beyond chance.
    return np.divide(observed - expected, room, out=np.zeros_like(observed), where=room > 1e-12)
