"""Where tokens and words stand in a text, and which tokens of one tokenizer are which of another."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from hf_stitch.errors import RecipeError

EMPTY = (1, 1)
"""A range of no source tokens. Not (0, 0), with which transformers' pipelines pad."""
Offsets = list[tuple[int, int] | None]
"""Character range of each token of a text, outer blanks cut off; None for a special token."""


# A fast tokenizer keeps the truncation and padding of its latest call: two threads would cut each other's texts, or end
# in "Already borrowed". One lock for all: tokenizers are copied and pickled, which a lock of their own forbids.
_tokenizing = Lock()


def tokenized(tokenizer: Any, texts: str | Sequence[str], **options: Any) -> Any:
    """What a tokenizer gives, one thread after the other."""
    with _tokenizing:
        return tokenizer(texts, **options)


LONG = 100_000  # characters, by hand: a tokenizer takes a tenth of a second or more for as many
_counts: WeakKeyDictionary[Any, dict[tuple[int, str], int]] = WeakKeyDictionary()


def token_count(tokenizer: Any, text: str) -> int:
    """Tokens of a text; those of the latest long one are counted once, however often they are asked for."""
    if len(text) < LONG:
        return len(tokenized(tokenizer, text)["input_ids"])
    key = (len(tokenizer), hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest())
    known = _counts.get(tokenizer, {}).get(key)
    if known is None:
        known = len(tokenized(tokenizer, text)["input_ids"])
        _counts[tokenizer] = {key: known}
    return known


def save_tokenizer(tokenizer: Any, folder: str | Path) -> None:
    """Write a tokenizer as it is by itself: a fast one would write how its latest call cut and padded too."""
    with _tokenizing:
        inner = getattr(tokenizer, "backend_tokenizer", None)
        if inner is not None:
            inner.no_truncation()
            inner.no_padding()
        tokenizer.save_pretrained(str(folder))


def offsets(tokenizer: Any, texts: Sequence[str], max_length: int | None = None) -> list[Offsets]:
    """Character ranges of the tokens of each text, unpadded, special tokens included as None.

    Raises:
        RecipeError: a slow tokenizer, which does not know offsets.
    """
    if not getattr(tokenizer, "is_fast", False):
        kind = type(tokenizer).__name__
        raise RecipeError(f"{kind} knows no character offsets; expected a fast tokenizer (one with a tokenizer.json)")
    encoded = tokenized(
        tokenizer, list(texts), return_offsets_mapping=True, return_special_tokens_mask=True,
        truncation=max_length is not None, max_length=max_length,
    )  # fmt: skip
    both = zip(texts, encoded["offset_mapping"], encoded["special_tokens_mask"])
    return [[None if s else _cut(text, *r) for r, s in zip(ranges, special)] for text, ranges, special in both]


def _cut(text: str, start: int, end: int) -> tuple[int, int]:
    """The range without blanks at its ends: some tokenizers count the blank before a word as part of it."""
    piece = text[start:end]
    if not piece.strip():
        return start, end
    return start + len(piece) - len(piece.lstrip()), end - len(piece) + len(piece.rstrip())


def token_spans(source: Offsets, target: Offsets) -> Offsets:
    """For each target token the range [start, end) of source tokens that share characters with it.

    A target token that shares none (a lone blank, or text that was cut off) gets the source token nearest to it.
    None stays None; a source of special tokens only gives empty ranges.
    """
    known = [(i, *place) for i, place in enumerate(source) if place is not None]
    return [None if place is None else _span(known, *place) for place in target]


NOTHING = (-1, -1)
"""In place of a range: nothing of the source is known by then."""


def causal_spans(source: Offsets, target: Offsets) -> Offsets:
    """For each target token the range [start, end) of source tokens that may stand for it in a causal model.

    These are the source tokens that share characters with it and end no later than it does, so that nothing of what
    follows is known; where there are none, the last source token that ends before, else a special token in front of the
    text, else `NOTHING`. Of several target tokens in one character the last alone knows it. None stays None.
    """
    known = [(i, *place) for i, place in enumerate(source) if place is not None]
    first = known[0][0] if known else len(source)
    behind, ends = None, list[int]()
    for place in reversed(target):  # a token ends, at the latest, where one that follows begins
        ends.append(-1 if place is None else place[1] if behind is None else min(place[1], behind))
        behind = behind if place is None else place[0] if behind is None else min(place[0], behind)
    found: Offsets = []
    for place, end in zip(target, reversed(ends)):
        if place is None:
            found.append(None)
            continue
        over = [i for i, _, b in known if b <= end]
        shared = [i for i, a, b in known if b <= end and b > place[0] and a < end]
        last = over[-1] if over else first - 1
        found.append((shared[0], shared[-1] + 1) if shared else (last, last + 1) if last >= 0 else NOTHING)
    return found


def _span(known: list[tuple[int, int, int]], start: int, end: int) -> tuple[int, int]:
    shared = [i for i, a, b in known if a < end and b > start]
    if not shared and known:
        shared = [min(known, key=lambda token: max(token[1] - end, start - token[2]))[0]]
    return (shared[0], shared[-1] + 1) if shared else EMPTY


@dataclass(frozen=True)
class Said:
    """What is said in a sound: the text, and (w, 2) seconds, start and end, of its w words between blanks."""

    text: str
    times: np.ndarray


def said_spans(tokenizer: Any, said: Said, rate: int, max_length: int | None = None) -> np.ndarray:
    """(t', 2) int64: the audio samples [start, end) in which each token is said, (-1, id) for special tokens.

    The time of a word is shared out among its tokens by their characters; a token for a blank has the time between.
    """
    [places] = offsets(tokenizer, [said.text], max_length)
    ids = tokenized(tokenizer, said.text, truncation=max_length is not None, max_length=max_length)["input_ids"]
    characters = np.array(word_offsets(said.text)).ravel()
    samples = said.times.ravel() * rate
    rows = []
    for token, place in zip(ids, places):
        start, end = (-1, token) if place is None else np.interp(place, characters, samples).round().astype(int)
        rows.append((start, end) if place is None else (start, max(end, start + 1)))
    return np.array(rows, np.int64)


def word_offsets(text: str) -> list[tuple[int, int]]:
    """Character ranges of the words between blanks."""
    return [match.span() for match in re.finditer(r"\S+", text)]


def word_tokens(tokenizer: Any, text: str, max_length: int | None = None) -> list[list[int]]:
    """Positions of the tokens of each word between blanks; empty for a word that was cut off.

    Positions count the special tokens but no padding.
    """
    [places] = offsets(tokenizer, [text], max_length)
    return [tokens_within(places, *word) for word in word_offsets(text)]


def tokens_within(places: Offsets, start: int, end: int) -> list[int]:
    """Positions of the tokens that share characters with the range [start, end)."""
    return [i for i, place in enumerate(places) if place is not None and place[0] < end and place[1] > start]
