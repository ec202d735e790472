"""Answers that are classes: agreement, kappa, accuracy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from hf_stitch.activations.frames import Answers
from hf_stitch.evaluation.activation_measures import word_error_measures
from hf_stitch.evaluation.answer_kinds.base import AnswerKind, References, Scope
from hf_stitch.evaluation.metrics.catalogue import metric_path
from hf_stitch.evaluation.statistics import classes
from hf_stitch.evaluation.statistics.intervals import Interval
from hf_stitch.loading.samples import Samples
from hf_stitch.report.measure import Measure


class Classes(AnswerKind):
    """Read as (n,) numbers of classes; `names` are those of the classes."""

    error = "agreement"

    def __init__(self, names: Mapping[int, str] | None = None) -> None:
        self.names = dict(names or {})

    def read(self, answers: Answers) -> np.ndarray:
        assert isinstance(answers, Tensor)
        return answers.argmax(-1).numpy()

    def truth(self, samples: Samples) -> np.ndarray | None:
        return None if samples.labels is None else np.array(samples.labels)

    def chance(self, own: np.ndarray, fitted: np.ndarray | None) -> None:
        """None: the commonest class of each group is its own, see `majority_measures`."""

    def errors(self, given: Answers, own: Answers) -> np.ndarray:
        return self.read(given) != self.read(own)

    def wrong(self, given: np.ndarray, references: References) -> np.ndarray:
        return given != references.own

    def name(self, number: int) -> str:
        """Name of a class, with its number where another has the same."""
        name = self.names.get(number, number)
        alone = sum(other == name for other in self.names.values()) <= 1
        return str(name) if alone else f"{name} ({number})"

    def groups(self, references: References) -> dict[str, np.ndarray]:
        known = sorted(set(references.own.tolist()))
        return {self.name(k): references.own == k for k in known}

    def confusion(self, given: np.ndarray, references: References) -> dict[str, dict[str, int]]:
        pairs = Counter(zip(references.own.tolist(), given.tolist()))
        found: dict[str, dict[str, int]] = {}
        for own, other in sorted(pairs):
            found.setdefault(self.name(own), {})[self.name(other)] = pairs[own, other]
        return found

    def severity(self, given: Answers, own: Answers) -> np.ndarray:
        """(n,) how sure wrong answers are: the surest are the worst."""
        assert isinstance(given, Tensor)
        return self.errors(given, own) * given.double().softmax(-1).amax(-1).numpy()

    def answers_shown(
        self, answers: Answers, rows: Sequence[int], references: References, config: Any
    ) -> list[dict[str, Any]]:
        assert isinstance(answers, Tensor)
        logits = answers[list(rows)].double()
        several = getattr(config, "problem_type", None) == "multi_label_classification"
        scores, numbers = (logits.sigmoid() if several else logits.softmax(-1)).max(-1)
        return [{"label": self.name(k), "score": s} for k, s in zip(numbers.tolist(), scores.tolist())]

    def expected_shown(self, references: References, i: int, config: Any) -> dict[str, Any] | None:
        return None if references.truth is None else {"label": self.name(int(references.truth[i]))}

    def measures(self, method: str, given: np.ndarray, references: References, scope: Scope) -> list[Measure]:
        measures = agreement_measures(method, given, references.own, scope)
        if references.truth is not None:
            measures += accuracy_measures(method, given, references.truth, scope)
        if "cascade" in references.controls:
            measures += cascade_difference(method, given, references.controls["cascade"], references.own, scope)
        return measures

    def reference_measures(self, references: References, scope: Scope) -> list[Measure]:
        labels = references.truth
        measures = majority_measures(references.own, labels, scope)
        if labels is not None:
            measures += accuracy_measures("target", references.own, labels, scope)
        for name, given in references.controls.items():
            measures += agreement_measures(name, given, references.own, scope)
            if labels is not None:
                measures += accuracy_measures(name, given, labels, scope)
        return measures + word_error_measures(references.transcripts, references.spoken, scope)


def agreement_measures(method: str, given: np.ndarray, own: np.ndarray, scope: Scope) -> list[Measure]:
    """Agreement of labels `given` (n,) with the target's `own` (n,): agreement, balanced accuracy, kappa."""
    # Here, since importing it takes some 4 s, which commands that measure nothing should not wait for.
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
