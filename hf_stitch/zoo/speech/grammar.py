"""A seeded grammar of short English opinions whose sentiment no single word decides.

The label is the speaker's final verdict: negation flips it, a contrast keeps its last clause, an expectation is
discarded. Labels are 0 (negative) and 1 (positive).
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence
from typing import NamedTuple


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


NOUNS = _words(
    "film movie book song album concert show play game match meal dinner lunch breakfast soup cake coffee tea hotel "
    "room trip flight train beach garden museum market party lesson speech story ending phone car "
    "actor singer waiter teacher guide team"
)
THINGS = NOUNS[:-6]  # what one can "see", "try" or "recommend" again; the last six nouns are people
ADJECTIVES = {
    1: _words(
        "good great wonderful lovely superb brilliant delightful charming amazing excellent fantastic perfect "
        "pleasant clever beautiful nice splendid fine exciting funny"
    ),
    0: _words(
        "bad awful terrible dull boring horrible dreadful poor weak bland ugly nasty useless messy stupid lousy "
        "tedious annoying shabby gloomy"
    ),
}
VERBS_PAST = {
    1: _words("loved enjoyed liked adored praised admired"),
    0: _words("hated disliked regretted despised mocked resented"),
}
VERBS_BASE = {
    1: _words("love enjoy like adore praise admire"),
    0: _words("hate dislike regret despise mock resent"),
}
INTENSIFIERS = _words("very really truly so quite simply extremely")
NEUTRAL = _words("old new long short big small local famous early quiet")
SPEAKERS = ("i", "we", "they", "she", "he", "my brother", "my sister", "our friends")
TIMES = ("today", "last night", "on monday", "on friday", "after work", "this morning", "in the city", "last week",
         "in the summer", "at home", "by the river", "with friends")  # fmt: skip
REPEATABLE = _words("see visit try recommend choose")
WORDS_PER_SENTENCE = range(4, 13)

_OPINION_WORDS = frozenset(
    word for table in (ADJECTIVES, VERBS_PAST, VERBS_BASE) for row in table.values() for word in row
)


class Sentence(NamedTuple):
    """One opinion: its words, its label (0 or 1) and whether it holds an (opinion, noun) pair kept from training."""

    text: str
    label: int
    novel: bool


class Grammar:
    """Draws sentences from one seeded stream; equal seeds give equal sentences."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._templates, self._weights = zip(
            (self._verdict, 20), (self._change_of_mind, 9), (self._contrast, 8), (self._reaction, 8),
            (self._denied_reaction, 10), (self._everyone_or_nobody, 7), (self._expectation, 7), (self._hope, 6),
            (self._exclamation, 8), (self._again, 6), (self._comparison, 5), (self._despite, 6), (self._seemed, 5),
            strict=True,
        )  # fmt: skip

    def sentence(self, label: int) -> str:
        """Return one sentence whose verdict is `label` (0 or 1)."""
        return self._random.choices(self._templates, self._weights)[0](label)

    # --- parts ---
    def _one(self, options: Sequence[str]) -> str:
        return self._random.choice(options)

    def _chance(self, probability: float) -> bool:
        return self._random.random() < probability

    def _adjective(self, label: int) -> str:
        return self._one(ADJECTIVES[label])

    def _judgement(self, label: int) -> str:
        """An adjective phrase of polarity `label`; two thirds of them negate or intensify."""
        kinds = ("plain", "intense", "not", "never", "far from", "hardly", "anything but")
        kind = self._random.choices(kinds, (34, 20, 14, 10, 8, 7, 7))[0]
        if kind == "plain":
            return self._adjective(label)
        if kind == "intense":
            return f"{self._one(INTENSIFIERS)} {self._adjective(label)}"
        emphasis = " at all" if kind == "not" and self._chance(0.5) else ""
        return f"{kind} {self._adjective(1 - label)}{emphasis}"

    def _thing(self, nouns: Sequence[str] = NOUNS) -> str:
        determiner = self._one(("the", "the", "the", "this", "that", "our"))
        neutral = f"{self._one(NEUTRAL)} " if self._chance(0.2) else ""
        return f"{determiner} {neutral}{self._one(nouns)}"

    def _time(self, probability: float = 0.3) -> str:
        return f" {self._one(TIMES)}" if self._chance(probability) else ""

    def _a_noun(self, label: int) -> str:
        """ "a lovely film", "an ugly car": an adjective of polarity `label` with a bare noun."""
        adjective = self._adjective(label)
        return f"{'an' if adjective[0] in 'aeiou' else 'a'} {adjective} {self._one(NOUNS)}"

    # --- templates: each returns one sentence whose verdict is `label` ---
    def _verdict(self, label: int) -> str:
        return f"{self._thing()} was {self._judgement(label)}{self._time()}"

    def _change_of_mind(self, label: int) -> str:
        end = self._one(("later", "in the end"))
        return f"{self._thing()} was {self._adjective(1 - label)} at first but {self._judgement(label)} {end}"

    def _contrast(self, label: int) -> str:
        first = f"the {self._one(NOUNS)} was {self._adjective(1 - label)}"
        return f"{self._one(('although', 'while'))} {first} the {self._one(NOUNS)} was {self._judgement(label)}"

    def _reaction(self, label: int) -> str:
        return f"{self._one(SPEAKERS)} {self._one(VERBS_PAST[label])} {self._thing()}{self._time(0.5)}"

    def _denied_reaction(self, label: int) -> str:
        return f"{self._one(SPEAKERS)} did not {self._one(VERBS_BASE[1 - label])} {self._thing()}{self._time()}"

    def _everyone_or_nobody(self, label: int) -> str:
        nobody = self._chance(0.5)
        who = "nobody" if nobody else self._one(("everyone", "everybody"))
        return f"{who} {self._one(VERBS_PAST[1 - label if nobody else label])} {self._thing()}{self._time()}"

    def _expectation(self, label: int) -> str:
        return f"{self._one(('i', 'we'))} expected {self._a_noun(1 - label)} but it was {self._judgement(label)}"

    def _hope(self, label: int) -> str:
        link = "and" if label else "but"  # one hopes for the good: fulfilled, or disappointed
        return f"{self._one(SPEAKERS)} hoped for {self._a_noun(1)} {link} it was {self._judgement(label)}"

    def _exclamation(self, label: int) -> str:
        kind = self._random.choices(("what", "it was", "it was not"), (4, 3, 3))[0]
        if kind == "what":
            return f"what {self._a_noun(label)}"
        return f"{kind} {self._a_noun(label if kind == 'it was' else 1 - label)}{self._time()}"

    def _again(self, label: int) -> str:
        manner = self._one(("gladly", "happily") if label else ("never", "hardly"))
        return f"{self._one(SPEAKERS)} would {manner} {self._one(REPEATABLE)} {self._thing(THINGS)} again"

    def _comparison(self, label: int) -> str:
        word = "better" if label else "worse"
        if self._chance(0.6):
            belief = f"{self._one(('i', 'we', 'they'))} {self._one(('expected', 'thought'))}"
            return f"{self._thing()} was {word} than {belief}"
        return f"no {self._one(NOUNS)} could be {word}{self._time()}"

    def _despite(self, label: int) -> str:
        outcome = f"{self._one(SPEAKERS)} {self._one(VERBS_PAST[label])} the {self._one(NOUNS)}"
        return f"despite the {self._adjective(1 - label)} {self._one(NOUNS)} {outcome}"

    def _seemed(self, label: int) -> str:
        outcome = f"{self._one(SPEAKERS)} {self._one(VERBS_PAST[label])} it"
        return f"{self._thing()} seemed {self._adjective(1 - label)} but {outcome}"


def is_novel(text: str) -> bool:
    """Whether the sentence joins an opinion word and a noun of the eighth of all pairs that training never sees."""
    words = text.split()
    opinions = [word for word in words if word in _OPINION_WORDS]
    nouns = [word for word in words if word in NOUNS]
    return any(
        int(hashlib.md5(f"{o}|{n}".encode(), usedforsecurity=False).hexdigest(), 16) % 8 == 0
        for o in opinions
        for n in nouns
    )


def vocabulary(sentences: Iterable[Sentence]) -> list[str]:
    """Return the sorted distinct words of the sentences."""
    return sorted({word for sentence in sentences for word in sentence.text.split()})


# split: (sentences without a novel pair, sentences with one); labels are balanced within each part
SPLIT_SIZES = {
    "train": (8000, 0),
    "opinions/fit": (320, 0),
    "opinions/validation": (64, 64),
    "opinions/test": (256, 256),
    "sentences/fit": (600, 0),
    "sentences/validation": (100, 100),
    "sentences/test": (400, 400),
}


def splits(seed: int = 7) -> dict[str, list[Sentence]]:
    """Return every split by name; no sentence is in two of them, and each prefix of four is balanced by label."""
    grammar, shuffler = Grammar(seed), random.Random(seed + 1)
    need = {False: sum(plain for plain, _ in SPLIT_SIZES.values()) // 2,
            True: sum(novel for _, novel in SPLIT_SIZES.values()) // 2}  # fmt: skip
    cells: dict[tuple[int, bool], list[Sentence]] = {(label, novel): [] for label in (0, 1) for novel in need}
    seen: set[str] = set()
    while any(len(cell) < need[novel] for (_, novel), cell in cells.items()):
        for label in (0, 1):
            text = grammar.sentence(label)
            if text in seen or len(text.split()) not in WORDS_PER_SENTENCE:
                continue
            seen.add(text)
            cell = cells[label, novel := is_novel(text)]
            if len(cell) < need[novel]:
                cell.append(Sentence(text, label, novel))
    for cell in cells.values():  # late draws avoid the commonest sentences: shuffle before dealing
        shuffler.shuffle(cell)
    return {name: _deal(cells, sizes, shuffler) for name, sizes in SPLIT_SIZES.items()}


def _deal(
    cells: dict[tuple[int, bool], list[Sentence]], sizes: tuple[int, int], shuffler: random.Random
) -> list[Sentence]:
    """Take the split's sentences off the cells in shuffled blocks, one of each cell, so that prefixes are balanced."""
    dealt: list[Sentence] = []
    kinds = [novel for novel, size in zip((False, True), sizes, strict=True) if size]
    while len(dealt) < sum(sizes):
        block = [cells[label, novel].pop() for label in (0, 1) for novel in kinds]
        shuffler.shuffle(block)
        dealt += block
    return dealt
