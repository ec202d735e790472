"""The target's texts as the length rules for tokens see them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hf_stitch.activations.aligned_tokens import in_the_middle
from hf_stitch.activations.hooked_model import HookedModel
from hf_stitch.errors import RecipeError
from hf_stitch.loading.samples import Samples
from hf_stitch.loading.token_offsets import (
    Offsets,
    causal_spans,
    offsets,
    said_spans,
    token_spans,
    tokens_within,
    word_offsets,
)
from hf_stitch.recipe.sequence import Lengths

AT_ONCE = 1024  # texts that are read together; by hand


@dataclass(frozen=True)
class TargetTexts:
    """What the rules for tokens need of the target's texts.

    Attributes:
        ids: token ids of each text, special ones included.
        word_tokens: positions of the tokens of each of its words between blanks. For rules by the words that a source
            hears, `words` are these themselves, and `cuts` the characters [start, end) of them that each token holds.
        blanks: with `unit: character` the position of the token for the blank after each word, or None.
        spans: (t', 2) ranges of source tokens, or of audio samples, of the target's tokens, for rules that need them;
            (-1, id) for special ones.
    """

    ids: list[list[int]]
    words: list[list[str]]
    word_tokens: list[list[list[int]]]
    cuts: list[list[list[tuple[int, int]]]]
    blanks: list[list[int | None]]
    spans: list[np.ndarray] | None

    @classmethod
    def of(cls, source: HookedModel, target: HookedModel, samples: Samples, asked: Lengths) -> TargetTexts:
        """Read the target's texts.

        Raises:
            RecipeError: the target reads no text, its tokenizer knows no offsets, or it has no token a character where
                the unit is one.
        """
        tokenizer = target.tokenizer
        if tokenizer is None or target.preparer.modality != "text":
            reads = f"needs a target that reads text; {target.side.model} does not"
            raise RecipeError(f"sequence.length: {asked.length} {reads}")
        whole = range(len(samples))
        # Some at a time: what tokenizers keep beside the tokens takes more memory than these.
        parts = [cls._of(source, target, samples, asked, whole[k : k + AT_ONCE]) for k in whole[::AT_ONCE]]
        return cls(
            ids=[one for part in parts for one in part.ids],
            words=[one for part in parts for one in part.words],
            word_tokens=[one for part in parts for one in part.word_tokens],
            cuts=[one for part in parts for one in part.cuts],
            blanks=[one for part in parts for one in part.blanks],
            spans=[one for part in parts for one in part.spans or ()] if asked.facts.needs_target_spans else None,
        )

    @classmethod
    def _of(
        cls, source: HookedModel, target: HookedModel, samples: Samples, asked: Lengths, some: Sequence[int]
    ) -> TargetTexts:
        """Of the samples `some`."""
        tokenizer, raw = target.tokenizer, [str(samples.target(i)) for i in some]
        # Cut as at run time: tokens behind the limit have no activations.
        longest = target.preparer.max_length
        ids = tokenizer(raw, truncation=longest is not None, max_length=longest)["input_ids"]
        places = offsets(tokenizer, raw, longest)
        ranges = [word_offsets(text) for text in raw]
        tokens = [[tokens_within(found, *word) for word in own] for own, found in zip(ranges, places)]
        words: list[list[str]] = [[] for _ in raw]
        cuts: list[list[list[tuple[int, int]]]] = [[] for _ in raw]
        if asked.facts.needs_ctc_head:
            words = [text.split() for text in raw]
            cuts = [
                [_cuts(word, [found[k] for k in inside]) for word, inside in zip(own, its)]
                for own, its, found in zip(ranges, tokens, places)
            ]
        blanks: list[list[int | None]] = [[] for _ in raw]
        if asked.unit == "character":
            _check_characters(target, cuts)
            blanks = [_blanks(own, found) for own, found in zip(ranges, places)]
        spans = None
        if asked.facts.needs_target_spans:
            hears, causal = source.preparer.modality == "audio", in_the_middle(target)
            said = _said(source, target, samples, some) if hears else None
            spans = said or _shared(source, samples, some, places, ids, causal)
        return cls(ids, words, tokens, cuts, blanks, spans)

    def special(self, i: int) -> list[int]:
        """Positions of sample i's tokens that belong to no word and are no blank between words."""
        inside = {place for word in self.word_tokens[i] for place in word} | set(self.blanks[i])
        return [place for place in range(len(self.ids[i])) if place not in inside]


def _said(source: HookedModel, target: HookedModel, samples: Samples, some: Sequence[int]) -> list[np.ndarray]:
    """Spans in audio samples, from the times of the words."""
    rate, longest = source.preparer.rate, target.preparer.max_length
    return [said_spans(target.tokenizer, samples.said(i), rate, longest) for i in some]


def _shared(
    source: HookedModel,
    samples: Samples,
    some: Sequence[int],
    places: Sequence[Offsets],
    ids: Sequence[Sequence[int]],
    causal: bool,
) -> list[np.ndarray]:
    """Spans in source tokens, from the characters that they share with the target's.

    Args:
        causal: the target is a causal language model, see `causal_spans`.
    """
    own = [str(samples.source(i)) for i in some]
    seen = offsets(source.tokenizer, own, source.preparer.max_length)
    return [_spans(*sample, causal) for sample in zip(seen, places, ids)]


def _spans(source: Offsets, target: Offsets, ids: Sequence[int], causal: bool) -> np.ndarray:
    """(t', 2) source ranges of the target's tokens, (-1, id) for special ones; as from the processor."""
    found = (causal_spans if causal else token_spans)(source, target)
    return np.array([(-1, token) if place is None else place for token, place in zip(ids, found)])


def _cuts(word: tuple[int, int], places: Sequence[tuple[int, int] | None]) -> list[tuple[int, int]]:
    """Characters of a word that each of its tokens holds."""
    start, end = word
    return [(max(place[0], start) - start, min(place[1], end) - start) for place in places if place is not None]


def _blanks(words: Sequence[tuple[int, int]], places: Offsets) -> list[int | None]:
    """Position of the token for the blank after each word but the last."""
    found: list[int | None] = []
    for (_, end), (start, _) in itertools.pairwise(words):
        inside = [k for k, place in enumerate(places) if place is not None and end <= place[0] and place[1] <= start]
        # Tokenizers that put the blank into the word's first token have none of it alone.
        found.append(inside[0] if len(inside) == 1 else None)
    return found


def _check_characters(target: HookedModel, cuts: Sequence[Sequence[Sequence[tuple[int, int]]]]) -> None:
    longest = max((end - start for text in cuts for word in text for start, end in word), default=0)
    if longest > 1:
        raise RecipeError(
            f"sequence.unit: character needs a target with a token for each character; those of {target.side.model} "
            f"hold up to {longest}: use unit: token, or word"
        )
