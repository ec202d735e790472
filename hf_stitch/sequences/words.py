"""The length rule `ctc`: the source's own CTC path says which of its timesteps are a word of the target."""

from __future__ import annotations

import numpy as np

from hf_stitch.errors import RecipeError
from hf_stitch.sequences.ctc import CtcAlphabet, match_words, words_of
from hf_stitch.sequences.shapes import Pairs, Positions, Rule, RuleState, SampleShape, needed
from hf_stitch.sequences.windows import MAPPED, SPECIAL, split_evenly


class Words(Rule):
    """One position a word that was heard, `parts` averages of its frames joined."""

    def __init__(self, state: RuleState) -> None:
        super().__init__(state)
        self.alphabet = CtcAlphabet.from_dict(state.alphabet) if state.alphabet else None

    def pairs(self, sample: SampleShape) -> Pairs:
        heard = words_of(needed(sample.path, "ctc"), self._alphabet)
        matched = match_words([word.text for word in heard], sample.words)
        matched = [(i, j) for i, j in matched if sample.word_tokens[j]]
        source = [split_evenly(heard[i].start, heard[i].end, self.state.parts) for i, _ in matched]
        tokens = [sample.word_tokens[j] for _, j in matched]
        target = [[[min(place), max(place) + 1]] for place in tokens]
        empty = np.zeros((0, self.state.parts, 2), np.int64), np.zeros((0, 1, 2), np.int64)
        return Pairs(
            np.stack(source) if source else empty[0],
            np.array(target) if target else empty[1],
            np.array([min(place) for place in tokens], np.int64),
            dropped=len(sample.words) - len(matched),
        )

    @property
    def _alphabet(self) -> CtcAlphabet:
        if self.alphabet is None:
            raise RecipeError("sequence.length: ctc needs a source with a CTC head; this one has none")
        return self.alphabet

    def positions(self, sample: SampleShape) -> Positions:
        path = needed(sample.path, "ctc")
        words = words_of(path, self._alphabet)
        windows = [split_evenly(word.start, word.end, self.state.parts) for word in words]
        before, after = self.state.before, self.state.after
        kind = [SPECIAL] * len(before) + [MAPPED] * len(words) + [SPECIAL] * len(after)
        row = [*before, *range(len(words)), *after]
        if not kind:  # nothing was heard and the target has no special tokens: one position of silence
            windows, kind, row = [split_evenly(0, len(path), self.state.parts)], [MAPPED], [0]
        stacked = np.stack(windows) if windows else np.zeros((0, self.state.parts, 2), np.int64)
        return Positions(stacked, np.array(kind), np.array(row))
