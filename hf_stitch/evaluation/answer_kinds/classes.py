"""Measures of answers that are classes: agreement, kappa, accuracy."""

from __future__ import annotations

from typing import Any

import numpy as np

from hf_stitch.evaluation.answer_kinds.base import Scope
from hf_stitch.evaluation.metrics.catalogue import metric_path
from hf_stitch.evaluation.statistics import classes
from hf_stitch.evaluation.statistics.intervals import Interval
from hf_stitch.report.measure import Measure


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
        scope.measure("accuracy", method, split, classes.agreement(given[rows], labels[rows]))
        for split, rows in scope.parts(len(labels))
    ]


def majority_measures(own: np.ndarray, labels: np.ndarray | None, scope: Scope) -> list[Measure]:
    """What always giving the commonest answer scores."""
    measures = []
    for split, rows in scope.parts(len(own)):
        measures.append(scope.measure("agreement", "majority", split, classes.majority(own[rows])))
        if labels is not None:
            measures.append(scope.measure("accuracy", "majority", split, classes.majority(labels[rows])))
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
            classes.compare(given[rows], cascade[rows], own[rows], seed=scope.seed).difference,
        )
        for split, rows in scope.parts(len(own))
    ]
