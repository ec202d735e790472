"""Words from a source's own greedy CTC path: which frames belong to which recognised word."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rapidfuzz.distance import Levenshtein


@dataclass(frozen=True)
class Word:
    """A recognised word and the frames [start, end) that carry it.

    Attributes:
        runs: (text, first frame, last frame) of each symbol that spells it.
    """

    text: str
    start: int
    end: int
    runs: tuple[tuple[str, int, int], ...] = field(default=(), compare=False)

    def within(self, first: float, last: float) -> tuple[int, int]:
        """Frames [start, end) of the characters [first, last) of its text; borders lie halfway between symbols."""
        places, borders = [0], [self.start]
        for (text, _, end), (_, begin, _) in itertools.pairwise(self.runs):
            places.append(places[-1] + len(text))
            borders.append((end + begin + 1) // 2)
        places, borders = [*places, len(self.text)], [*borders, self.end]
        a, b = np.interp([first, last], places, borders).tolist()
        # Interpolation may miss a whole number by rounding, which would take in one more frame.
        start = math.floor(a + 1e-9)
        return start, max(math.ceil(b - 1e-9), start + 1)

    def until(self, other: Word) -> tuple[int, int]:
        """Frames [start, end) between the last symbol of this word and the first of the next."""
        return self.runs[-1][2] + 1, other.runs[0][1]


@dataclass(frozen=True)
class CtcAlphabet:
    """What a CTC head's classes mean.

    Attributes:
        blank: class of the blank.
        delimiter: class between words.
        symbols: text of each other class that spells something; the rest is ignored.
    """

    blank: int
    delimiter: int
    symbols: Mapping[int, str]

    def to_dict(self) -> dict:
        return {
            "blank": self.blank,
            "delimiter": self.delimiter,
            "symbols": {str(k): v for k, v in self.symbols.items()},
        }

    @classmethod
    def from_dict(cls, content: Mapping) -> CtcAlphabet:
        symbols = {int(k): v for k, v in content["symbols"].items()}
        return cls(content["blank"], content["delimiter"], symbols)


def alphabet(tokenizer: Any) -> CtcAlphabet:
    """The classes of a CTC head by its tokenizer, whose padding is the blank."""
    blank, delimiter = tokenizer.pad_token_id, tokenizer.convert_tokens_to_ids(tokenizer.word_delimiter_token)
    ignored = {*tokenizer.all_special_ids, delimiter}
    symbols = {i: text for text, i in tokenizer.get_vocab().items() if i not in ignored}
    return CtcAlphabet(blank, delimiter, {i: symbols[i] for i in sorted(symbols)})


def words_of(path: Sequence[int] | np.ndarray, alphabet: CtcAlphabet) -> list[Word]:
    """Group a greedy CTC path into words.

    A frame belongs to the word whose symbols are nearest: borders lie halfway between the last symbol of one word and
    the first of the next, and the first and last word reach to the ends of the audio by the same margin.

    Args:
        path: (t,) best class of each frame.
    """
    spelled: list[list[tuple[str, int, int]]] = [[]]
    previous = alphabet.blank
    for frame, symbol in enumerate(np.asarray(path).tolist()):
        if symbol in alphabet.symbols:
            text, first, _ = (alphabet.symbols[symbol], frame, frame) if symbol != previous else spelled[-1].pop()
            spelled[-1].append((text, first, frame))
        elif symbol == alphabet.delimiter:
            spelled.append([])
        previous = symbol
    return _with_borders([runs for runs in spelled if runs], len(path))


# A margin of 2 frames, 40 ms of Wav2Vec2; by hand.
def _with_borders(spelled: list[list[tuple[str, int, int]]], frames: int, margin: int = 2) -> list[Word]:
    words = []
    for i, runs in enumerate(spelled):
        first, last = runs[0][1], runs[-1][2]
        start = max(0, first - margin) if i == 0 else (spelled[i - 1][-1][2] + first + 1) // 2
        end = min(frames, last + 1 + margin) if i == len(spelled) - 1 else (last + spelled[i + 1][0][1] + 1) // 2
        text = "".join(text for text, _, _ in runs)
        words.append(Word(text, start, max(end, start + 1), tuple(runs)))
    return words


def match_words(heard: Sequence[str], true: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs (recognised, true) of word numbers that an edit-distance alignment joins and that are spelled alike.

    A misheard word keeps its pair, since its frames do carry the true word, unless more than half of it differs. Case
    does not count: many recognisers know capitals only.
    """
    n, m = len(heard), len(true)
    cost = np.zeros((n + 1, m + 1))
    cost[:, 0], cost[0, :] = np.arange(n + 1), np.arange(m + 1)
    unlike = np.array([[_unlike(a.casefold(), b.casefold()) for b in true] for a in heard]).reshape(n, m)
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            # A pair that shares nothing costs as much as leaving both words out.
            swap = cost[i - 1, j - 1] + 2 * unlike[i - 1, j - 1]
            cost[i, j] = min(swap, cost[i - 1, j] + 1, cost[i, j - 1] + 1)
    pairs, i, j = [], n, m
    while i and j:
        if cost[i, j] == cost[i - 1, j - 1] + 2 * unlike[i - 1, j - 1]:
            i, j = i - 1, j - 1
            # By hand: more than half of the letters wrong is taken for another word.
            if unlike[i, j] <= 0.5:
                pairs.append((i, j))
        elif cost[i, j] == cost[i - 1, j] + 1:
            i -= 1
        else:
            j -= 1
    return pairs[::-1]


def _unlike(a: str, b: str) -> float:
    return Levenshtein.distance(a, b) / max(len(a), len(b), 1)
