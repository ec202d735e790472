"""What a length rule is told of a sample, and what it answers, in the fit and at run time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from hf_stitch.errors import ActivationError


@dataclass(frozen=True)
class SampleShape:
    """What the rule needs to know of one sample.

    Attributes:
        source_length, target_length: timesteps; at run time the target length that is wanted.
        path: (t,) greedy CTC classes, for `ctc`.
        spans: (t', 2) source ranges of the target's tokens, for `spans`; (-1, id) marks a special token.
        words: true words, for `ctc` in the fit; `word_tokens` the target positions of each, `word_cuts` which
            characters of the word [start, end) each of those holds, `blanks` the position of the blank after each.
    """

    source_length: int
    target_length: int
    path: np.ndarray | None = None
    spans: np.ndarray | None = None
    words: Sequence[str] = ()
    word_tokens: Sequence[Sequence[int]] = ()
    word_cuts: Sequence[Sequence[tuple[int, int]]] = ()
    blanks: Sequence[int | None] = ()


@dataclass(frozen=True)
class Pairs:
    """Rows of one sample that correspond: source windows (r, K, 2), target windows (r, S, 2), positions (r,)."""

    source: np.ndarray
    target: np.ndarray
    position: np.ndarray
    dropped: int = 0


class Positions(NamedTuple):
    """Target positions of one sample at run time: windows (r, K, 2), kind (t',), row (t',); see `Plan`."""

    windows: np.ndarray
    kind: np.ndarray
    row: np.ndarray


@dataclass
class RuleState:
    """Everything about a rule that is not a tensor; saved in the model's config.

    Attributes:
        stride: audio samples a timestep, where `spans` count those; 0 where they count timesteps.
        ratio: target timesteps a source timestep; constant the median target length of the fit.
        before, after: ids of the target's special tokens round its words, for `ctc`.
        alphabet, unit, blanks, pieces, tokens_per_character: see `words.py`.
        special, predictor: specs of the tensors that the rule holds.
    """

    length: str
    target_length: str
    slice: int = 1
    slicing: str = "windows"
    parts: int = 1
    stride: float = 0.0
    ratio: float = 1.0
    constant: int = 1
    before: list[int] = field(default_factory=list)
    after: list[int] = field(default_factory=list)
    padding_side: str = "right"
    alphabet: dict | None = None
    unit: str = "word"
    blanks: bool = False
    pieces: dict[str, list[int]] | None = None
    tokens_per_character: float = 0.0
    special: dict | None = None
    predictor: dict | None = None


class Rule:
    """One length rule: which target positions there are, and which source timesteps each is made of.

    Attributes:
        join: windows joined into one row, which has `join` times the source's features.
        shifted: windows count from a sample's first real timestep, not from the first of its padded batch.
    """

    shifted = True

    def __init__(self, state: RuleState) -> None:
        self.state = state

    @property
    def join(self) -> int:
        return self.state.parts

    def pairs(self, sample: SampleShape) -> Pairs:
        """Corresponding rows of one sample, for the fit."""
        raise NotImplementedError

    def positions(self, sample: SampleShape) -> Positions:
        """Target positions of one sample, at run time."""
        raise NotImplementedError


def needed(value: Any, rule: str) -> Any:
    """The value, or ActivationError where an input that the rule needs is missing."""
    if value is None:
        what = {"spans": "`target_spans` from the processor saved with the model", "ctc": "the CTC head's output"}[rule]
        raise ActivationError(f"sequence.length: {rule} needs {what}; got none")
    return value
