"""From answers to measures: agreement and accuracy of classifiers, errors of regressors, fit of activations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import Tensor

from hf_stitch import statistics
from hf_stitch.errors import DataError
from hf_stitch.metrics import metric_path
from hf_stitch.report import Measure
from hf_stitch.spelling import edit_distance
from hf_stitch.statistics import Interval

Better = Literal["higher", "lower"] | None
RESIDUAL_OF = 5  # coordinates, as many as the paper draws of its vector fields


@dataclass(frozen=True)
class Scope:
    """Where measures belong: split and direction, the bootstrap's seed, and the groups that get rows of their own."""

    split: str
    direction: Literal["forward", "backward"]
    seed: int
    groups: Sequence[str] | None = None

    def parts(self, n: int) -> list[tuple[str, np.ndarray]]:
        """The split as a whole and each of its groups, as (name, sample numbers)."""
        found = [(self.split, np.arange(n))]
        for group in sorted(set(self.groups or ())):
            found.append((f"{self.split}/{group}", np.flatnonzero(np.array(self.groups) == group)))
        return found

    def measure(self, name: str, method: str, split: str, found: Interval, better: Better = "higher") -> Measure:
        return Measure(name, method, split, self.direction, found.value, found.low, found.high, found.n, better)


def agreement_measures(method: str, given: np.ndarray, own: np.ndarray, scope: Scope) -> list[Measure]:
    """Agreement of labels `given` (n,) with the target's `own` (n,): agreement, balanced accuracy, kappa."""
    import evaluate

    metric = evaluate.load(metric_path("stitch_agreement"))
    measures = []
    for split, rows in scope.parts(len(own)):
        found = metric.compute(predictions=given[rows].tolist(), references=own[rows].tolist(), seed=scope.seed)
        n = found["n"]
        values = {
            "agreement": Interval(found["agreement"], found["low"], found["high"], n),
            "balanced_accuracy": _interval(found, "balanced_accuracy", n),
            "kappa": _interval(found, "kappa", n),
        }
        measures += [scope.measure(name, method, split, value) for name, value in values.items()]
    return measures


def _interval(found: dict[str, Any], name: str, n: int) -> Interval:
    return Interval(found[name], found[f"{name}_low"], found[f"{name}_high"], n)


def accuracy_measures(method: str, given: np.ndarray, labels: np.ndarray, scope: Scope) -> list[Measure]:
    """Share of the true labels that are given."""
    return [
        scope.measure("accuracy", method, split, statistics.agreement(given[rows], labels[rows]))
        for split, rows in scope.parts(len(labels))
    ]


def majority_measures(own: np.ndarray, labels: np.ndarray | None, scope: Scope) -> list[Measure]:
    """What always giving the commonest answer scores."""
    measures = []
    for split, rows in scope.parts(len(own)):
        measures.append(scope.measure("agreement", "majority", split, statistics.majority(own[rows])))
        if labels is not None:
            measures.append(scope.measure("accuracy", "majority", split, statistics.majority(labels[rows])))
    return measures


def cascade_difference(
    method: str, given: np.ndarray, cascade: np.ndarray, own: np.ndarray, scope: Scope
) -> list[Measure]:
    """Agreement of the method minus that of the cascade, paired on the same samples."""
    return [
        scope.measure(
            "agreement_minus_cascade",
            method,
            split,
            statistics.compare(given[rows], cascade[rows], own[rows], seed=scope.seed).difference,
        )
        for split, rows in scope.parts(len(own))
    ]


def regression_measures(method: str, given: np.ndarray, own: np.ndarray, scope: Scope) -> list[Measure]:
    """Mean squared difference of outputs (n, k)."""
    square = ((given - own) ** 2).mean(1)
    return [
        scope.measure("output_mse", method, split, statistics.mean(square[rows], seed=scope.seed), "lower")
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
        scope.measure("answer_mse", method, split, statistics.mean(square[rows], seed=scope.seed), "lower")
        for split, rows in scope.parts(len(truth))
    ]
    if (truth == truth[0]).all():
        return found
    return [
        *found,
        scope.measure("answer_r2", method, scope.split, statistics.r_squared(given, truth, seed=scope.seed)),
    ]


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
            "map_mse": statistics.mean(square[rows], seed=scope.seed),
            "map_residual": statistics.relative_error(ours[rows], theirs[rows], samples[rows], scope.seed),
        }
        measures += [scope.measure(name, method, split, value, "lower") for name, value in found.items()]
    return measures


def correlation_measures(method: str, mapped: Tensor, true: Tensor, scope: Scope) -> list[Measure]:
    """Correlation r of the first aligned coordinate (n, l) with the target map's own, and 1 - r, which tells good from
    better; none where either is constant."""
    a, b = (rows[:, 0].double().numpy() for rows in (mapped, true))
    if not (a.std() > 0 and b.std() > 0):
        return []
    found = statistics.correlation(a, b, seed=scope.seed)
    low, high = (None if end is None else 1 - end for end in (found.high, found.low))
    rest = Interval(1 - found.value, low, high, found.n)
    return [
        scope.measure("coordinate_correlation", method, scope.split, found),
        scope.measure("coordinate_misalignment", method, scope.split, rest, "lower"),
    ]


def fit_measures(method: str, predicted: Tensor, true: Tensor, samples: np.ndarray, scope: Scope) -> list[Measure]:
    """How near predicted activations (n, m) come to the target's own; rows of one sample are resampled together."""
    x, y = predicted.double().numpy(), true.double().numpy()
    found: list[tuple[str, Any, Better]] = [
        ("r2", statistics.r_squared, "higher"),
        ("cosine", statistics.cosine, "higher"),
        ("relative_error", statistics.relative_error, "lower"),
    ]
    return [
        scope.measure(name, method, scope.split, compute(x, y, samples, seed=scope.seed), better)
        for name, compute, better in found
    ]


def word_error_measures(heard: Sequence[str], true: Sequence[str], scope: Scope) -> list[Measure]:
    """Word error rate of the source's own transcripts."""
    errors = np.array([edit_distance(a.split(), b.split()) for a, b in zip(heard, true)], float)
    words = np.array([len(b.split()) for b in true], float)
    return [
        scope.measure("wer", "source", split, statistics.ratio(errors[rows], words[rows], seed=scope.seed), "lower")
        for split, rows in scope.parts(len(true))
    ]
