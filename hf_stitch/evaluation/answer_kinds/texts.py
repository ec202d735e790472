"""Answers that are texts: how far apart two sets of them are, and the measures that come of it.

Token agreement of a sample is 1 - d / max(a, b) for token sequences of lengths a and b at Levenshtein distance d: 1 for
equal ones, 0 where they have nothing in common. Word and character error rates are sums of distances over sums of
lengths of the texts compared with, as in speech recognition, and may exceed 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rapidfuzz.distance import Levenshtein

from hf_stitch.activations.frames import Answers
from hf_stitch.activations.ragged import Ragged
from hf_stitch.activations.text_output import TextOutput
from hf_stitch.evaluation.activation_measures import word_error_measures
from hf_stitch.evaluation.answer_kinds.base import AnswerKind, Better, References, Scope
from hf_stitch.evaluation.shown_inputs import shown_text
from hf_stitch.evaluation.statistics import classes, intervals
from hf_stitch.evaluation.statistics.intervals import Interval
from hf_stitch.loading.samples import Samples
from hf_stitch.report.measure import Measure

CANDIDATES, COMPARED = 64, 32  # sequences tried as the constant answer, and those each is compared with; by hand


@dataclass(frozen=True)
class GeneratedTexts:
    """Texts generated for n samples: token sequences, and what they spell."""

    tokens: list[tuple[int, ...]]
    texts: list[str]

    def __len__(self) -> int:
        return len(self.tokens)

    def take(self, places: Sequence[int]) -> GeneratedTexts:
        return GeneratedTexts([self.tokens[i] for i in places], [self.texts[i] for i in places])


class Texts(AnswerKind):
    """Read as `GeneratedTexts`.

    Args:
        text_output, tokenizer: how the target writes, and what spells its tokens.
    """

    error = "token_agreement"

    def __init__(self, text_output: TextOutput, tokenizer: Any) -> None:
        self.text_output, self.tokenizer = text_output, tokenizer

    def read(self, answers: Answers) -> GeneratedTexts:
        assert isinstance(answers, Ragged)
        tokens = [tuple(row.tolist()) for row in answers]
        return GeneratedTexts(tokens, self.text_output.texts(answers, self.tokenizer))

    def truth(self, samples: Samples) -> list[str] | None:
        return samples.true_texts(1)

    def chance(self, own: GeneratedTexts, fitted: GeneratedTexts | None) -> GeneratedTexts:
        return constant(own)

    def errors(self, given: Answers, own: Answers) -> np.ndarray:
        """(n,) shares of tokens that do not agree."""
        return 1 - likeness(self.read(given), self.read(own))

    def wrong(self, given: GeneratedTexts, references: References) -> np.ndarray:
        return ~same(given, references.own)

    def answers_shown(
        self, answers: Answers, rows: Sequence[int], references: References, config: Any
    ) -> list[dict[str, Any]]:
        texts = self.read(answers).texts
        return [shown_text(texts[i]) for i in rows]

    def expected_shown(self, references: References, i: int, config: Any) -> dict[str, Any] | None:
        return None if references.truth is None else shown_text(references.truth[i])

    def measures(self, method: str, given: GeneratedTexts, references: References, scope: Scope) -> list[Measure]:
        measures = text_measures(method, given, references.own, scope)
        if references.truth is not None:
            measures += truth_text_measures(method, given, references.truth, scope)
        if "cascade" in references.controls:
            measures += text_differences(method, given, references.controls["cascade"], references.own, scope)
        return measures

    def reference_measures(self, references: References, scope: Scope) -> list[Measure]:
        given = references.controls
        measures = [m for name, texts in given.items() for m in text_measures(name, texts, references.own, scope)]
        if references.truth is not None:
            for name, texts in {"target": references.own, **given}.items():
                measures += truth_text_measures(name, texts, references.truth, scope)
        return measures + word_error_measures(references.transcripts, references.spoken, scope)

    def samples_shown(self, given: GeneratedTexts, references: References) -> dict[str, list[str]]:
        rows = {"stitched": given.texts, "target": references.own.texts}
        if "cascade" in references.controls:
            rows["cascade"] = references.controls["cascade"].texts
        if references.truth is not None:
            rows["should be"] = references.truth
        if references.transcripts is not None:
            rows["source heard"] = references.transcripts
        return rows


def same(given: GeneratedTexts, own: GeneratedTexts) -> np.ndarray:
    """(n,) bool, where both have the same tokens."""
    return np.array([a == b for a, b in zip(given.tokens, own.tokens)])


def likeness(given: GeneratedTexts, own: GeneratedTexts) -> np.ndarray:
    """(n,) token agreement of each sample."""
    return np.array([_alike(a, b) for a, b in zip(given.tokens, own.tokens)])


def _alike(a: Sequence[int], b: Sequence[int]) -> float:
    return 1.0 if a == b else 1 - Levenshtein.distance(a, b) / max(len(a), len(b))


def constant(own: GeneratedTexts) -> GeneratedTexts:
    """The commonest sequence as the answer to all; of equally common ones that which is most like the others."""
    counts = Counter(own.tokens)
    most = max(counts.values())
    tied = [i for i, row in enumerate(own.tokens) if counts[row] == most]
    places = list({own.tokens[i]: i for i in tied[::-1]}.values())  # the first of each
    places = sorted(places)[:: max(1, len(places) // CANDIDATES)]
    company = own.tokens[:: max(1, len(own) // COMPARED)]
    best = max(places, key=lambda i: sum(_alike(own.tokens[i], other) for other in company))
    return own.take([best] * len(own))


def others(own: GeneratedTexts, seed: int) -> GeneratedTexts:
    """To each sample the answer to another one: what agreement comes of texts being alike at all."""
    order = np.random.default_rng(seed).permutation(len(own))
    place = np.empty(len(own), dtype=np.int64)
    # One step along a random cycle: nobody gets the own answer, as a mere permutation would give to some.
    place[order] = np.roll(order, 1)
    return own.take(place.tolist())


def text_measures(method: str, given: GeneratedTexts, own: GeneratedTexts, scope: Scope) -> list[Measure]:
    """Of generated texts against the target's own: exact matches, token agreement, word errors."""
    equal, alike = same(given, own), likeness(given, own)
    measures = []
    for split, rows in scope.parts(len(own)):
        found = intervals.wilson(int(equal[rows].sum()), len(rows))
        measures.append(scope.measure("exact_match", method, split, found))
        measures.append(scope.measure("token_agreement", method, split, intervals.mean(alike[rows], seed=scope.seed)))
    return measures + _error_rates("text_", method, given.texts, own.texts, scope)


def truth_text_measures(method: str, given: GeneratedTexts, truth: Sequence[str], scope: Scope) -> list[Measure]:
    """Of generated texts against the reference texts in the data."""
    # Word by word: blanks are no part of what a reference says.
    equal = np.array([a.split() == b.split() for a, b in zip(given.texts, truth)])
    measures = [
        scope.measure("answer_exact_match", method, split, intervals.wilson(int(equal[rows].sum()), len(rows)))
        for split, rows in scope.parts(len(truth))
    ]
    return measures + _error_rates("answer_", method, given.texts, truth, scope)


def text_differences(
    method: str, given: GeneratedTexts, cascade: GeneratedTexts, own: GeneratedTexts, scope: Scope
) -> list[Measure]:
    """Exact matches and token agreement of the method minus those of the cascade, paired on the same samples."""
    hits = [same(one, own) for one in (given, cascade)]
    alike = likeness(given, own) - likeness(cascade, own)
    right = np.ones(len(own), dtype=bool)
    measures = []
    for split, rows in scope.parts(len(own)):
        exact = classes.compare(hits[0][rows], hits[1][rows], right[rows], seed=scope.seed).difference
        tokens = intervals.mean(alike[rows], seed=scope.seed)
        measures.append(scope.measure("exact_match_minus_cascade", method, split, exact))
        measures.append(scope.measure("token_agreement_minus_cascade", method, split, tokens))
    return measures


def _error_rates(prefix: str, method: str, given: Sequence[str], true: Sequence[str], scope: Scope) -> list[Measure]:
    """Word and character error rates; none where the true texts are all blank."""
    parts: dict[str, Callable[[str], Sequence[str]]] = {"wer": str.split, "cer": lambda text: " ".join(text.split())}
    measures = []
    for name, cut in parts.items():
        pairs = [(cut(a), cut(b)) for a, b in zip(given, true)]
        # Most texts of a stitch that holds are equal: no table of distances for those.
        errors = np.array([0 if a == b else Levenshtein.distance(a, b) for a, b in pairs], float)
        lengths = np.array([len(b) for _, b in pairs], float)
        better: Better = "lower"
        for split, rows in scope.parts(len(true)):
            if lengths[rows].sum():
                found: Interval = intervals.ratio(errors[rows], lengths[rows], seed=scope.seed)
                measures.append(scope.measure(prefix + name, method, split, found, better))
    return measures
