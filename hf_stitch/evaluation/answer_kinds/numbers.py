"""Measures of answers that are rows of numbers: errors and explained variance."""

from __future__ import annotations

import numpy as np

from hf_stitch.errors import DataError
from hf_stitch.evaluation.answer_kinds.base import Scope
from hf_stitch.evaluation.statistics import activations, intervals
from hf_stitch.report.measure import Measure


def regression_measures(method: str, given: np.ndarray, own: np.ndarray, scope: Scope) -> list[Measure]:
    """Mean squared difference of outputs (n, k)."""
    square = ((given - own) ** 2).mean(1)
    return [
        scope.measure("output_mse", method, split, intervals.mean(square[rows], seed=scope.seed), "lower")
        for split, rows in scope.parts(len(own))
    ]


def truth_measures(method: str, given: np.ndarray, truth: np.ndarray, scope: Scope) -> list[Measure]:
    """Mean squared error of outputs (n, k) against the true answers that the data give, and R2 on the whole split."""
    if given.shape != truth.shape:
        raise DataError(
            f"the true answers are rows of {truth.shape[1]} numbers, the target's outputs of {given.shape[1]}: name "
            "another column as data columns.target_answer, or source_answer for the other direction"
        )
    square = ((given - truth) ** 2).mean(1)
    found = [
        scope.measure("answer_mse", method, split, intervals.mean(square[rows], seed=scope.seed), "lower")
        for split, rows in scope.parts(len(truth))
    ]
    if (truth == truth[0]).all():
        return found
    return [
        *found,
        scope.measure("answer_r2", method, scope.split, activations.r_squared(given, truth, seed=scope.seed)),
    ]
