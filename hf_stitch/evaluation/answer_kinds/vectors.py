"""Answers that are vectors, of models without a head: how much of them is explained, and whether they find their own.

Two purposes, which are measured apart. Who reads the numbers, as a head that was trained on the target's vectors does,
needs R2: the share of the target's variance round the mean of the fit. Who compares vectors, as a search does, needs
the rank of the target's own vector of the same sample among those of all samples of the split, by cosine. Samples that
are equally near share their ranks, as if chance decided between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from hf_stitch.activations.frames import Answers
from hf_stitch.evaluation.activation_measures import word_error_measures
from hf_stitch.evaluation.answer_kinds.base import AnswerKind, References, Scope
from hf_stitch.evaluation.statistics import intervals
from hf_stitch.evaluation.statistics.intervals import Interval
from hf_stitch.loading.samples import Samples
from hf_stitch.report.measure import Measure

FOUND = (1, 10)  # ranks up to which a sample counts as found; those that the field quotes
TIE = 1e-6  # cosines that differ by less are equal; by hand: rounding of float32, as of one text in two batches
BLOCK = 2**23  # cosines held at once, 64 MB; by hand


@dataclass(frozen=True)
class Profiles:
    """Answers that can be compared with those to other samples, and are no vectors of the target's space.

    Attributes:
        given, own: (n, a) rows; the i-th of `given` is near the i-th of `own` where they mean the same.
    """

    given: np.ndarray
    own: np.ndarray


@dataclass(frozen=True)
class Ranks:
    """Of each sample (n,): how many others are nearer than its own, and how many are as near."""

    nearer: np.ndarray
    equal: np.ndarray

    def found(self, most: int) -> np.ndarray:
        """(n,) chance that its own is among the first so many."""
        return np.clip((most - self.nearer) / (self.equal + 1), 0.0, 1.0)

    def reciprocal(self) -> np.ndarray:
        """(n,) one over its own's rank, on average over the order of those that are equally near."""
        harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, len(self.nearer) + 2))])
        return (harmonic[self.nearer + self.equal + 1] - harmonic[self.nearer]) / (self.equal + 1)


class Vectors(AnswerKind):
    """Read as (n, k) float64; a control may give `Profiles` instead.

    Args:
        centre: (k,) mean of the target's own vectors in the fit, where that is known.
    """

    error = "vector_r2"
    constant = "mean"

    def __init__(self, centre: np.ndarray | None = None) -> None:
        self.centre = centre

    def knowing(self, fitted: np.ndarray | None) -> Vectors:
        return self if fitted is None else Vectors(fitted.mean(0))

    def read(self, answers: Answers) -> np.ndarray:
        assert isinstance(answers, Tensor)
        return answers.double().numpy()

    def truth(self, samples: Samples) -> None:
        """None: what the right vector is, only the target says."""

    def chance(self, own: np.ndarray, fitted: np.ndarray | None) -> np.ndarray:
        """The mean of the target's vectors of the fit, or of these where nothing is known of the fit."""
        return np.broadcast_to((own if fitted is None else fitted).mean(0), own.shape)

    def errors(self, given: Answers, own: Answers) -> np.ndarray:
        """(n,) squared differences over the variance of the target's own vectors: their mean is 1 - R2."""
        x, y = self.read(given), self.read(own)
        variance = ((y - (y.mean(0) if self.centre is None else self.centre)) ** 2).sum(1).mean()
        return ((x - y) ** 2).sum(1) / (variance if variance > 0 else 1.0)

    def wrong(self, given: np.ndarray, references: References) -> np.ndarray:
        """Where the target's own vector of another sample is nearer than that of the same."""
        return ranks(given, references.own).nearer > 0

    def answers_shown(
        self, answers: Answers, rows: Sequence[int], references: References, config: Any
    ) -> list[dict[str, Any]]:
        """Where the target's own vector stands for them: numbers of a vector tell nobody anything."""
        given, own = self.read(answers), references.own
        found, cosine = ranks(given, own), _cosines(given, own)
        return [_in_words(f"its own vector is number {found.nearer[i] + 1} of {len(own)} by cosine, which is "
                          f"{cosine[i]:.3f}") for i in rows]  # fmt: skip

    def measures(self, method: str, given: np.ndarray, references: References, scope: Scope) -> list[Measure]:
        measures = vector_measures(method, given, references, scope)
        if "cascade" in references.controls:
            measures += cascade_differences(method, given, references, scope)
        return measures

    def reference_measures(self, references: References, scope: Scope) -> list[Measure]:
        # What can be reached: samples that are given twice cannot be told apart by anyone.
        measures = retrieval_measures("target", ranks(references.own, references.own), scope)
        for name, given in references.controls.items():
            if isinstance(given, Profiles):
                measures += retrieval_measures(name, ranks(given.given, given.own), scope)
            else:
                measures += vector_measures(name, given, references, scope)
        return measures + word_error_measures(references.transcripts, references.spoken, scope)


def _in_words(text: str) -> dict[str, Any]:
    return {"text": text, "characters": len(text)}


def vector_measures(method: str, given: np.ndarray, references: References, scope: Scope) -> list[Measure]:
    """R2 round the mean of the fit and mean cosine of vectors (n, k) with the target's own, and what they find."""
    own = references.own
    missed, power, cosine = _missed(given, references), _power(references), _cosines(given, own)
    measures = []
    for split, rows in scope.parts(len(own)):
        if power[rows].sum() > 0:  # else R2 is none: the target says the same to all samples
            share = intervals.ratio(missed[rows], power[rows], seed=scope.seed)
            low, high = (None if end is None else 1 - end for end in (share.high, share.low))
            measures.append(scope.measure("vector_r2", method, split, Interval(1 - share.value, low, high, share.n)))
        measures.append(scope.measure("vector_cosine", method, split, intervals.mean(cosine[rows], seed=scope.seed)))
    return measures + retrieval_measures(method, ranks(given, own), scope)


def retrieval_measures(method: str, ranks: Ranks, scope: Scope) -> list[Measure]:
    """How often a sample finds its own first, or among the first ten of more than ten, and the mean reciprocal rank."""
    n, measures = len(ranks.nearer), []
    for split, rows in scope.parts(n):
        for most in FOUND:
            if most < n:
                found = _share(ranks.found(most)[rows], scope.seed)
                measures.append(scope.measure(f"retrieval_r{most}", method, split, found))
        if n > 1:
            mean = intervals.mean(ranks.reciprocal()[rows], seed=scope.seed)
            measures.append(scope.measure("retrieval_mrr", method, split, mean))
    return measures


def cascade_differences(method: str, given: np.ndarray, references: References, scope: Scope) -> list[Measure]:
    """R2 and samples found first of the method minus those of the cascade, paired on the same samples."""
    cascade, own = references.controls["cascade"], references.own
    gained, power = _missed(cascade, references) - _missed(given, references), _power(references)
    hits = ranks(given, own).found(1) - ranks(cascade, own).found(1)
    measures = []
    for split, rows in scope.parts(len(own)):
        if power[rows].sum() > 0:
            found = intervals.ratio(gained[rows], power[rows], seed=scope.seed)
            measures.append(scope.measure("vector_r2_minus_cascade", method, split, found))
        found = intervals.mean(hits[rows], seed=scope.seed)
        measures.append(scope.measure("retrieval_r1_minus_cascade", method, split, found))
    return measures


def ranks(given: np.ndarray, own: np.ndarray) -> Ranks:
    """Where the i-th row of `own` (n, k) stands among all of them by its cosine to the i-th of `given`."""
    x, y = _unit(given), _unit(own)
    nearer, equal = np.empty(len(x), np.int64), np.empty(len(x), np.int64)
    size = max(1, BLOCK // max(len(y), 1))
    for start in range(0, len(x), size):
        rows = np.arange(start, min(start + size, len(x)))
        cosines = x[rows] @ y.T
        mine = cosines[np.arange(len(rows)), rows][:, None]
        nearer[rows] = (cosines > mine + TIE).sum(1)
        equal[rows] = (np.abs(cosines - mine) <= TIE).sum(1) - 1
    return Ranks(nearer, equal)


def _unit(rows: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.zeros_like(rows, dtype=np.float64), where=length > 0)


def _cosines(given: np.ndarray, own: np.ndarray) -> np.ndarray:
    found: np.ndarray = (_unit(given) * _unit(own)).sum(1)
    return found


def _missed(given: np.ndarray, references: References) -> np.ndarray:
    """(n,) squared differences from the target's own vectors."""
    found: np.ndarray = ((given - references.own) ** 2).sum(1)
    return found


def _power(references: References) -> np.ndarray:
    """(n,) squared distances of the target's own vectors from their mean in the fit."""
    return _missed(references.controls[Vectors.constant], references)


def _share(hits: np.ndarray, seed: int) -> Interval:
    """Mean of hits (n,); where all are 0 or 1 Wilson's interval, which has a width where all are alike."""
    whole = np.isin(hits, (0.0, 1.0)).all()
    return intervals.wilson(round(float(hits.sum())), len(hits)) if whole else intervals.mean(hits, seed=seed)
