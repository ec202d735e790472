"""The length rule `ctc`: the source's own CTC path says which of its timesteps are a word of the target.

A position of the target is a word, a character or a token (`unit`). At run time only the transcript is known, so into
how many tokens a word falls is looked up among the words of the fit; a word that is not there is cut evenly, into as
many tokens as words of its length have on average.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hf_stitch.activations.ctc import CtcAlphabet, Word, match_words, words_of
from hf_stitch.activations.frames import Frames
from hf_stitch.activations.hooked_model import HookedModel, alphabet_of
from hf_stitch.activations.windows import split_evenly
from hf_stitch.errors import ActivationError, RecipeError
from hf_stitch.recipe.sequence import Lengths
from hf_stitch.stitching.lengths.position_plan import MAPPED, SPECIAL
from hf_stitch.stitching.lengths.rule import (
    FRAMES_OF_A_WORD,
    Pairs,
    Positions,
    Rule,
    RuleState,
    SampleShape,
    learned_by_all,
)
from hf_stitch.stitching.lengths.target_texts import TargetTexts

Range = tuple[int, int]


@dataclass
class CtcState(RuleState):
    """The options `parts` and `unit`, and what is learned of the texts.

    Attributes:
        before, after: ids of the target's special tokens round its words.
        alphabet: the CTC head's classes. blanks: with `unit: character`, whether the blank between words is a token.
        pieces, tokens_per_character: with `unit: token`, see `learn_pieces`.
    """

    parts: int = 1
    before: list[int] = field(default_factory=list)
    after: list[int] = field(default_factory=list)
    alphabet: dict | None = None
    unit: str = "word"
    blanks: bool = False
    pieces: dict[str, list[int]] | None = None
    tokens_per_character: float = 0.0


class Words(Rule):
    """One position a word of the transcript, `parts` averages of its frames joined."""

    State = CtcState
    state: CtcState
    special_tokens = True

    def __init__(self, state: CtcState) -> None:
        super().__init__(state)
        self.alphabet = CtcAlphabet.from_dict(state.alphabet) if state.alphabet else None

    @classmethod
    def of(cls, state: CtcState) -> Words:
        """The rule of a state's `unit`."""
        return UNITS[state.unit](state)

    @classmethod
    def learn(
        cls, asked: Lengths, source: HookedModel, target: HookedModel, frames: Frames, texts: TargetTexts | None
    ) -> CtcState:
        state = CtcState(**learned_by_all(asked, target), parts=asked.parts, unit=asked.unit)
        state.alphabet = alphabet_of(source).to_dict()
        assert texts is not None
        state.before, state.after = _frame_of(texts)
        state.blanks = any(place is not None for text in texts.blanks for place in text)
        if asked.unit == "token":
            state.pieces, state.tokens_per_character = learn_pieces(texts.words, texts.cuts)
        return state

    @property
    def join(self) -> int:
        return self.state.parts

    def pairs(self, sample: SampleShape) -> Pairs:
        heard = words_of(_path(sample), self._alphabet)
        matched = match_words([word.text for word in heard], sample.words)
        # Words behind the tokenizer's limit have no tokens.
        matched = [(i, j) for i, j in matched if sample.word_tokens[j]]
        # By target position: rows then stand in the order in which the target reads them.
        found = sorted(self._corresponding(heard, matched, sample), key=lambda pair: pair[1])
        return Pairs(
            self._windows([frames for frames, _ in found]),
            np.array([tokens for _, tokens in found], np.int64).reshape(-1, 1, 2),
            np.array([first for _, (first, _) in found], np.int64),
            dropped=len(sample.words) - len(matched),
        )

    def positions(self, sample: SampleShape) -> Positions:
        path = _path(sample)
        before, after = self.state.before, self.state.after
        found = self._transcript(sample)
        if self.state.limit is not None:  # as the target's tokenizer cuts its texts
            room = max(self.state.limit - len(before) - len(after), 0)
            found = found[max(len(found) - room, 0) :] if self.state.cut_side == "left" else found[:room]
        if not (found or before or after):  # no words and no special tokens: models take no sequence of length 0
            found = [(0, len(path))]
        kind = [SPECIAL] * len(before) + [MAPPED] * len(found) + [SPECIAL] * len(after)
        return Positions(self._windows(found), np.array(kind), np.array([*before, *range(len(found)), *after]))

    def unlimited(self, sample: SampleShape) -> int:
        return len(self.state.before) + len(self._transcript(sample)) + len(self.state.after)

    def _transcript(self, sample: SampleShape) -> list[Range]:
        """Frames of all positions of the transcript."""
        return list(self._cut(words_of(_path(sample), self._alphabet)))

    def typical(self, count: int, path: Tensor | None, device: torch.device) -> tuple[Tensor | None, Tensor | None]:
        """A path in which every 16 timesteps are a word of one symbol."""
        if path is None:
            return None, None
        place = torch.arange(path.shape[1], device=path.device) % FRAMES_OF_A_WORD
        made = torch.full_like(path, self._alphabet.blank)
        made[:, place == FRAMES_OF_A_WORD // 2] = next(iter(self._alphabet.symbols))
        made[:, place == FRAMES_OF_A_WORD - 1] = self._alphabet.delimiter
        return made, None

    @property
    def _alphabet(self) -> CtcAlphabet:
        if self.alphabet is None:
            raise RecipeError("sequence.length: ctc needs a source with a CTC head; this one has none")
        return self.alphabet

    def _windows(self, ranges: Sequence[Range]) -> np.ndarray:
        found = np.array(ranges, np.int64).reshape(-1, 2)
        return split_evenly(found[:, 0], found[:, 1], self.state.parts)

    def _corresponding(
        self, heard: Sequence[Word], matched: Sequence[Range], sample: SampleShape
    ) -> Iterator[tuple[Range, Range]]:
        """Frames and the target positions that say the same, of the words (i of the transcript, j true) that match."""
        for i, j in matched:
            tokens = sample.word_tokens[j]
            yield (heard[i].start, heard[i].end), (min(tokens), max(tokens) + 1)

    def _cut(self, heard: Sequence[Word]) -> Iterator[Range]:
        """Frames of each position of the transcript."""
        for word in heard:
            yield word.start, word.end


class Tokens(Words):
    """One position a token: a word's frames are shared out by the characters that each of its tokens holds."""

    def _corresponding(
        self, heard: Sequence[Word], matched: Sequence[Range], sample: SampleShape
    ) -> Iterator[tuple[Range, Range]]:
        for i, j in matched:
            # A misheard word may be longer or shorter than the true one: its characters stand for shares of that.
            scale = len(heard[i].text) / len(sample.words[j])
            for place, (start, end) in zip(sample.word_tokens[j], sample.word_cuts[j]):
                yield heard[i].within(scale * start, scale * end), (place, place + 1)

    def _cut(self, heard: Sequence[Word]) -> Iterator[Range]:
        for word in heard:
            for start, end in itertools.pairwise(itertools.accumulate(self._lengths(word.text), initial=0)):
                yield word.within(start, end)

    def _lengths(self, text: str) -> Sequence[float]:
        """Characters of each token of a word."""
        known = (self.state.pieces or {}).get(text.casefold())
        if known is not None:
            return known
        count = min(max(1, round(self.state.tokens_per_character * len(text))), len(text))
        return [len(text) / count] * count


class Characters(Words):
    """One position a character; the blank between two words is one too where the target has a token for it."""

    def _corresponding(
        self, heard: Sequence[Word], matched: Sequence[Range], sample: SampleShape
    ) -> Iterator[tuple[Range, Range]]:
        both = set(matched)
        for i, j in matched:
            places = {cut: place for place, cut in zip(sample.word_tokens[j], sample.word_cuts[j])}
            for a, b in match_words(list(heard[i].text), list(sample.words[j])):
                if (b, b + 1) in places:
                    yield heard[i].within(a, a + 1), (places[b, b + 1], places[b, b + 1] + 1)
            blank = sample.blanks[j] if j < len(sample.blanks) else None
            # Only between two words that both match is it known where the blank is said.
            if blank is not None and (i + 1, j + 1) in both:
                yield heard[i].until(heard[i + 1]), (blank, blank + 1)

    def _cut(self, heard: Sequence[Word]) -> Iterator[Range]:
        for i, word in enumerate(heard):
            if i and self.state.blanks:
                yield heard[i - 1].until(word)
            for k in range(len(word.text)):
                yield word.within(k, k + 1)


UNITS = {"word": Words, "character": Characters, "token": Tokens}
RULE = Words


def _path(sample: SampleShape) -> np.ndarray:
    if sample.path is None:
        raise ActivationError("sequence.length: ctc needs the CTC head's output; got none")
    return sample.path


def _frame_of(texts: TargetTexts) -> tuple[list[int], list[int]]:
    """Ids of the special tokens before and after the words; the same for every text, or ctc cannot place them."""
    found = set()
    for i, ids in enumerate(texts.ids):
        special = texts.special(i)
        first = next((k for k in range(len(ids)) if k not in special), len(ids))
        found.add((tuple(ids[k] for k in special if k < first), tuple(ids[k] for k in special if k >= first)))
    if len(found) != 1:
        raise RecipeError("sequence.length: ctc: the target's tokenizer frames different texts differently; use spans")
    before, after = found.pop()
    return list(before), list(after)


def learn_pieces(
    words: Sequence[Sequence[str]], cuts: Sequence[Sequence[Sequence[Range]]]
) -> tuple[dict[str, list[int]], float]:
    """How words fall into tokens.

    Args:
        words: of each text of the fit; cuts: which characters of the word each of its tokens holds.

    Returns:
        For each word without punctuation the number of characters of its tokens, the most frequent way of cutting it;
        and tokens per character over all words.
    """
    seen: dict[str, Counter] = {}
    tokens = characters = 0
    for word, own in ((word, own) for pair in zip(words, cuts) for word, own in zip(*pair)):
        # Transcripts have no punctuation, so words with it teach nothing.
        if own and all(letter.isalnum() or letter == "'" for letter in word):
            borders = [start for start, _ in own] + [len(word)]
            way = tuple(b - a for a, b in itertools.pairwise([0, *borders[1:]]))
            seen.setdefault(word.casefold(), Counter())[way] += 1
            tokens, characters = tokens + len(own), characters + len(word)
    # Sorted: the same texts in another order give the same saved config.
    table: dict[str, Any] = {word: list(ways.most_common(1)[0][0]) for word, ways in sorted(seen.items())}
    return table, tokens / max(characters, 1)
