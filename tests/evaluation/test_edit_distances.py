"""Word errors and token agreement are Levenshtein's distance, by its definition."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from hf_stitch.evaluation.activation_measures import word_error_measures
from hf_stitch.evaluation.answer_kinds.base import Scope
from hf_stitch.evaluation.answer_kinds.texts import GeneratedTexts, likeness
from hf_stitch.zoo.speech.recognizer import word_error_rate

WORDS = st.lists(st.sampled_from(["good", "goods", "", "gut", "ü"]), max_size=6)
TOKENS = st.lists(st.integers(0, 3) | st.sampled_from([50_257, 2**31]), max_size=6)
SPELLINGS = st.text("abß", max_size=6)


def distance(a: Sequence, b: Sequence) -> int:
    """Fewest substitutions, insertions and deletions, by recursion."""
    if not a or not b:
        return len(a) + len(b)
    return min(distance(a[1:], b) + 1, distance(a, b[1:]) + 1, distance(a[1:], b[1:]) + (a[0] != b[0]))


@given(st.one_of(*(st.tuples(kind, kind) for kind in (WORDS, TOKENS, SPELLINGS))))
@settings(deadline=None, max_examples=100)
def test_the_library_equals_the_definition(pair: tuple[Sequence, Sequence]) -> None:
    a, b = pair
    assert Levenshtein.distance(a, b) == distance(a, b)
    assert Levenshtein.distance(tuple(a), tuple(b)) == distance(a, b)


def test_empty_and_equal_sequences() -> None:
    assert [Levenshtein.distance(a, a) for a in ("", "abc", [], [1, 2], ["ab"])] == [0] * 5
    assert [Levenshtein.distance(a, a[:0]) for a in ("abc", [1, 2, 3], ("ab", "cd", ""))] == [3] * 3


@given(st.lists(st.tuples(TOKENS, TOKENS), min_size=1, max_size=4))
@settings(deadline=None, max_examples=50)
def test_token_agreement(pairs: list[tuple[list[int], list[int]]]) -> None:
    given_, own = (GeneratedTexts([tuple(row) for row in rows], [""] * len(rows)) for rows in zip(*pairs))
    wanted = [1 - distance(a, b) / max(len(a), len(b), 1) for a, b in pairs]
    assert likeness(given_, own).tolist() == pytest.approx(wanted)


def test_word_error_rate_counts_words() -> None:
    true, heard = ["a good film", "bad bad", ""], ["a goods film film", "", "x"]
    assert word_error_rate(true, heard) == pytest.approx((2 + 2 + 1) / 5)
    found = word_error_measures(heard, true, Scope("test", "forward", 0))
    assert found[0].value == pytest.approx((2 + 2 + 1) / 5)
