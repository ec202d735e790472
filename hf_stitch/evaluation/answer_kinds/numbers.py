"""Answers that are rows of numbers: errors and explained variance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hf_stitch.activations.frames import Answers
from hf_stitch.errors import DataError
from hf_stitch.evaluation.answer_kinds.base import AnswerKind, References, Scope
from hf_stitch.evaluation.shown_inputs import shown_numbers
from hf_stitch.evaluation.statistics import activations, intervals
from hf_stitch.loading.samples import Samples
from hf_stitch.report.measure import Measure


class Numbers(AnswerKind):
    """Read as (n, k) float64."""

    error = "output_mse"
    reads_transcripts = False

    def read(self, answers: Answers) -> np.ndarray:
        assert isinstance(answers, Tensor)
        return answers.double().numpy()

    def truth(self, samples: Samples) -> np.ndarray | None:
        return samples.true_answers(1)

    def chance(self, own: np.ndarray, fitted: np.ndarray | None) -> np.ndarray:
        """The mean of the target's answers to the fit samples, or of these where there are none."""
        known = torch.from_numpy(own if fitted is None else fitted)
        return known.mean(0, keepdim=True).expand(own.shape).numpy()

    def errors(self, given: Answers, own: Answers) -> np.ndarray:
        """(n,) mean squared differences; a difference has the dtype of the answers."""
        assert isinstance(given, Tensor)
        assert isinstance(own, Tensor)
        return (given - own).double().square().mean(1).numpy()

    def answers_shown(
        self, answers: Answers, rows: Sequence[int], references: References, config: Any
    ) -> list[dict[str, Any]]:
        assert isinstance(answers, Tensor)
        return [shown_numbers(row, config, references.own) for row in answers[list(rows)].double().numpy()]

    def expected_shown(self, references: References, i: int, config: Any) -> dict[str, Any] | None:
        return None if references.truth is None else shown_numbers(references.truth[i], config, references.own)

    def measures(self, method: str, given: np.ndarray, references: References, scope: Scope) -> list[Measure]:
        measures = regression_measures(method, given, references.own, scope)
        if references.truth is None:
            return measures
        return measures + truth_measures(method, given, references.truth, scope)

    def reference_measures(self, references: References, scope: Scope) -> list[Measure]:
        measures = regression_measures("majority", references.controls["majority"], references.own, scope)
        if references.truth is not None:
            for name, given in {"target": references.own, **references.controls}.items():
                measures += truth_measures(name, given, references.truth, scope)
        return measures


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
    # R2 is a share of the truth's variance: there is none of a constant.
    if (truth == truth[0]).all():
        return found
    return [
        *found,
        scope.measure("answer_r2", method, scope.split, activations.r_squared(given, truth, seed=scope.seed)),
    ]
