"""Answers of causal language models that are hooked in the middle: what they say of the next token, at each position.

Compared with the target itself on its own tokens, position by position: how often the same token is the most likely,
and the Kullback-Leibler divergence of what is said from what the target says, in nats a token. Beside that the loss on
the true next tokens and its exponential, the perplexity, of the stitched model, of the target alone, and of the source
alone where both have the same tokens. All positions of a sample are resampled together: neighbouring tokens are alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hf_stitch.activations.frames import Answers
from hf_stitch.activations.next_tokens import BEST, COUNTS, KL, LOSS, NEXT, OWN_BEST, OWN_LOSS
from hf_stitch.activations.ragged import Ragged
from hf_stitch.evaluation.answer_kinds.base import AnswerKind, Better, References, Scope
from hf_stitch.evaluation.statistics import intervals
from hf_stitch.evaluation.statistics.intervals import Interval
from hf_stitch.loading.samples import Samples
from hf_stitch.report.measure import Measure


@dataclass(frozen=True)
class Said:
    """What was said at the N positions that count, of n samples.

    Attributes:
        rows: (N, columns) of `hf_stitch.activations.next_tokens`; NaN where a number is not known.
        samples: (N,) the sample of each.
        n: samples, those without a position that counts among them.
    """

    rows: np.ndarray
    samples: np.ndarray
    n: int

    def sums(self, values: np.ndarray) -> np.ndarray:
        """(n,) sums over the positions of each sample."""
        return np.bincount(self.samples, values, self.n)

    @property
    def counts(self) -> np.ndarray:
        """(n,) positions of each sample."""
        return np.bincount(self.samples, minlength=self.n)

    def with_columns(self, **values: Any) -> Said:
        """The same positions with other numbers in some columns: `best`, `loss`, `kl`."""
        rows, places = self.rows.copy(), {"best": BEST, "loss": LOSS, "kl": KL}
        for name, numbers in values.items():
            rows[:, places[name]] = numbers
        return replace(self, rows=rows)


class NextTokens(AnswerKind):
    """Read as `Said`."""

    error = "next_token_kl"
    reads_transcripts = False

    def read(self, answers: Answers) -> Said:
        assert isinstance(answers, Ragged)
        rows, samples = answers.values.numpy(), np.repeat(np.arange(len(answers)), answers.lengths.numpy())
        counted = rows[:, COUNTS] > 0
        return Said(rows[counted], samples[counted], len(answers))

    def truth(self, samples: Samples) -> None:
        """None: the true next tokens are the target's own input."""

    def chance(self, own: Said, fitted: Said | None) -> Said | None:
        """The token that the target foretells most often in the fit, or here where nothing is known of the fit."""
        known = own if fitted is None else fitted
        if not len(known.rows):
            return None
        tokens, counts = np.unique(known.rows[:, OWN_BEST], return_counts=True)
        return own.with_columns(best=tokens[counts.argmax()], loss=np.nan, kl=np.nan)

    def errors(self, given: Answers, own: Answers) -> np.ndarray:
        """(n,) mean divergence from what the target says; 0 of samples without a position that counts."""
        said = self.read(given)
        return said.sums(said.rows[:, KL]) / np.maximum(said.counts, 1)

    def measures(self, method: str, given: Said, references: References, scope: Scope) -> list[Measure]:
        return next_token_measures(method, given, scope)

    def reference_measures(self, references: References, scope: Scope) -> list[Measure]:
        own = references.own
        measures = [one for one in next_token_measures("target", own, scope) if one.name in ALONE]
        for name, given in references.controls.items():
            measures += next_token_measures(name, given, scope)
        return measures

    def answers_shown(
        self, answers: Answers, rows: Sequence[int], references: References, config: Any
    ) -> list[dict[str, Any]]:
        said = self.read(answers)
        counts = np.maximum(said.counts, 1)
        loss, same = said.sums(said.rows[:, LOSS]) / counts, said.sums(_same(said)) / counts
        texts = [f"loss {loss[i]:.3g} nats a token; the target's own token at {100 * same[i]:.0f} %" for i in rows]
        return [{"text": text, "characters": len(text)} for text in texts]


ALONE = ("loss", "perplexity", "next_token_accuracy")
"""Measures that need nobody to compare with."""


def next_token_measures(method: str, given: Said, scope: Scope) -> list[Measure]:
    """Of what a method says: against the target itself, and against the true next tokens; what is known of it."""
    rows = given.rows
    told: list[tuple[str, np.ndarray, Better]] = [
        ("next_token_agreement", _same(given), "higher"),
        ("next_token_kl", rows[:, KL], "lower"),
        ("loss", rows[:, LOSS], "lower"),
        ("loss_difference", rows[:, LOSS] - rows[:, OWN_LOSS], "lower"),
        ("next_token_accuracy", (rows[:, BEST] == rows[:, NEXT]).astype(float), "higher"),
    ]
    measures = []
    for split, samples in scope.parts(given.n):
        for name, values, better in told:
            counts = given.counts[samples]
            if np.isnan(values).any() or not counts.any():
                continue
            kept = counts > 0  # a text of one token foretells nothing
            found = _over_samples(given.sums(values)[samples][kept], counts[kept], better, scope.seed)
            measures.append(scope.measure(name, method, split, found, better))
            if name == "loss":
                measures.append(scope.measure("perplexity", method, split, _exponential(found), better))
    return measures


def _over_samples(sums: np.ndarray, counts: np.ndarray, better: Better, seed: int) -> Interval:
    """Mean over all positions, of which each sample has its sum and its count; resampled by sample."""
    if better == "higher" and (not sums.any() or (sums == counts).all()):
        # All alike: Wilson's interval, of so many samples, has a width where a bootstrap has none.
        return intervals.wilson(len(sums) if sums.any() else 0, len(sums))
    return intervals.ratio(sums, counts, seed=seed)


def _same(given: Said) -> np.ndarray:
    return (given.rows[:, BEST] == given.rows[:, OWN_BEST]).astype(float)


def _exponential(found: Interval) -> Interval:
    low, high = (None if end is None else float(np.exp(end)) for end in (found.low, found.high))
    return Interval(float(np.exp(found.value)), low, high, found.n)
