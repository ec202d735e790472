"""What all kinds of answers share: where measures belong, what answers are compared with, and what a kind must know.

A target answers with classes, with rows of numbers, with vectors, with texts, or with next tokens. Whatever depends on
that is asked of its kind.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from hf_stitch.activations.frames import Answers
from hf_stitch.evaluation.statistics.intervals import Interval
from hf_stitch.loading.samples import Samples
from hf_stitch.recipe.side import Direction
from hf_stitch.report.measure import Measure

Better = Literal["higher", "lower"] | None
ErrorMeasure = Literal["agreement", "output_mse", "token_agreement", "vector_r2", "next_token_kl"]


@dataclass(frozen=True)
class Scope:
    """Where measures belong: split and direction, the bootstrap's seed, and the groups that get rows of their own."""

    split: str
    direction: Direction
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


@dataclass(frozen=True)
class References:
    """What a stitched model's answers on one split are compared with, all as their kind reads them.

    Attributes:
        own: the target's answers on its own true input.
        controls: answers of those that know less, by name (`majority`, `cascade`, `nearest`, ...).
        truth: what the data say should be answered; None where they do not.
        transcripts: what the source recognised, where it writes texts; spoken: what was said, where that is known.
    """

    kind: AnswerKind
    own: Any
    controls: Mapping[str, Any] = field(default_factory=dict)
    truth: Any = None
    transcripts: list[str] | None = None
    spoken: list[str] | None = None


class AnswerKind(ABC):
    """How the answers of one kind of target are read, compared and measured.

    Attributes:
        error: the measure in which errors of single samples are told.
        reads_transcripts: answers of the target on the source's own transcripts are a control (`cascade`).
        constant: the name of the best constant answer among the controls.
    """

    error: ClassVar[ErrorMeasure]
    reads_transcripts: ClassVar[bool] = True
    constant: ClassVar[str] = "majority"

    @abstractmethod
    def read(self, answers: Answers) -> Any:
        """Raw answers of n samples, logits (n, k) or tokens, as what they mean."""

    @abstractmethod
    def truth(self, samples: Samples) -> Any:
        """What the data say should be answered; None where they do not."""

    def knowing(self, fitted: Any) -> AnswerKind:
        """The same kind, which knows the target's own answers in the fit (None where they are not known)."""
        return self

    @abstractmethod
    def chance(self, own: Any, fitted: Any) -> Any:
        """The best constant answer to all samples; None where its measures are told without one.

        Args:
            own, fitted: the target's own answers here, and on the fit samples where there are any.
        """

    @abstractmethod
    def errors(self, given: Answers, own: Answers) -> np.ndarray:
        """(n,) errors of raw answers against the target's own raw answers."""

    @abstractmethod
    def measures(self, method: str, given: Any, references: References, scope: Scope) -> list[Measure]:
        """Measures of a method's answers."""

    @abstractmethod
    def reference_measures(self, references: References, scope: Scope) -> list[Measure]:
        """Measures of the target's own answers and of the controls."""

    def wrong(self, given: Any, references: References) -> np.ndarray | None:
        """(n,) bool, other answers than the target's own; None where none is plainly right or wrong."""
        return None

    def groups(self, references: References) -> dict[str, np.ndarray]:
        """Samples (n,) bool by the name of the target's own answer, where these are few."""
        return {}

    def severity(self, given: Answers, own: Answers) -> np.ndarray:
        """(n,) how far raw answers are off, to find the worst of them."""
        return self.errors(given, own)

    def confusion(self, given: Any, references: References) -> dict[str, dict[str, int]]:
        """How often each answer is given, by the target's own; empty where answers are not few."""
        return {}

    @abstractmethod
    def answers_shown(
        self, answers: Answers, rows: Sequence[int], references: References, config: Any
    ) -> list[dict[str, Any]]:
        """Raw answers of some samples as plain data for the report, with scores where there are any.

        Args:
            config: of the target.
        """

    def expected_shown(self, references: References, i: int, config: Any) -> dict[str, Any] | None:
        """What the data say should be answered to sample i, as plain data; None where they do not."""
        return None

    def samples_shown(self, given: Any, references: References) -> dict[str, list[str]]:
        """Rows of texts for the report to show, by title; none where answers are no texts."""
        return {}
