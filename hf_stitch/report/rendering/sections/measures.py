"""Every measure: tables for each name and direction, a row a method, a column a split; what is the same throughout is
said in a line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hf_stitch.report import catalogue
from hf_stitch.report.measure import Measure, find
from hf_stitch.report.rendering import bars
from hf_stitch.report.rendering.lone_groups import without_lone_groups
from hf_stitch.report.rendering.section import Section
from hf_stitch.report.report import Report

ORDER = 30
READS: tuple[str, ...] = ()
COLUMNS = 4  # splits beside each other, so that a table is no wider than the page; by hand

Cells = list[bars.BarCell | None]


@dataclass(frozen=True)
class Block:
    """A table of some splits of one kind: a row a method that was measured there."""

    splits: list[tuple[str, int | None]]  # with the number of samples where it is the same for all methods
    rows: list[tuple[str, str, Cells]]  # (method, "own" | "reference" | "", one cell a split)


@dataclass(frozen=True)
class Group:
    """All measures of one name and direction."""

    title: str
    meaning: str
    scale: bars.Scale
    blocks: list[Block]
    unfolded: bool


@dataclass(frozen=True)
class Line:
    """A measure that does not vary: whose it is, and what it is on each split."""

    title: str
    meaning: str
    whose: str
    measures: list[Measure]


def build(report: Report) -> Section | None:
    told, alone = without_lone_groups(report.measures)
    order = [*catalogue.MEASURES, *dict.fromkeys(m.name for m in told if m.name not in catalogue.MEASURES)]
    named = [
        [m for m in told if (m.name, m.direction) == (name, direction)]
        for name in order
        for direction in ("forward", "backward")
    ]
    named = [measures for measures in named if measures]
    content = {
        "groups": [_group(report, measures) for measures in named if not _same(measures)],
        "lines": [_line(measures) for measures in named if _same(measures)],
        "alone": alone,
        "present": [name for name in catalogue.REFERENCES if any(m.method == name for m in told)],
        "ranges": any(m.range for m in told),
    }
    return Section("measures", content) if named else None


def _same(measures: Sequence[Measure]) -> bool:
    """Whether a measure has one value throughout, and each split one interval, so that a table would show nothing."""
    if len({m.value for m in measures}) > 1:
        return False
    return all(len({(m.spread(), m.n) for m in measures if m.split == split}) == 1 for split in _splits(measures))


def _line(measures: Sequence[Measure]) -> Line:
    methods = list(dict.fromkeys(m.method for m in measures))
    title, meaning = _words(measures[0])
    whose = methods[0] if len(methods) == 1 else f"the same for {', '.join(methods)}"
    one_each = {m.split: m for m in measures}
    return Line(title, meaning, whose, [one_each[split] for split in _splits(measures)])


def _words(m: Measure) -> tuple[str, str]:
    title, meaning, _ = catalogue.MEASURES.get(m.name, (catalogue.title_of(m.name), "", ""))
    return (f"{title} (backward)" if m.direction == "backward" else title), meaning


def _splits(measures: Iterable[Measure]) -> list[str]:
    """Names of splits, the test first."""
    return sorted({m.split for m in measures}, key=lambda split: (not split.startswith("test"), split))


def _group(report: Report, measures: list[Measure]) -> Group:
    scale = bars.Scale.around(measures, catalogue.scale_of(measures[0].name))
    splits = _splits(measures)
    kinds = [
        [s for s in splits if s.partition("/")[0] == base]
        for base in dict.fromkeys(s.partition("/")[0] for s in splits)
    ]
    blocks = [
        _block(report, measures, kind[k : k + COLUMNS], scale) for kind in kinds for k in range(0, len(kind), COLUMNS)
    ]
    return Group(*_words(measures[0]), scale, blocks, measures[0].name in catalogue.PRIMARY)


def _block(report: Report, measures: list[Measure], splits: list[str], scale: bars.Scale) -> Block:
    here = [m for m in measures if m.split in splits]
    present = dict.fromkeys(m.method for m in here)
    rows: list[tuple[str, str, Cells]] = []
    for method in sorted(present, key=lambda method: (method in catalogue.REFERENCES, method != report.method)):
        found = [find(here, here[0].name, method, split, here[0].direction) for split in splits]
        cells = [None if m is None else bars.BarCell.of(m, scale, bars.marks(here, m, scale)) for m in found]
        rank = "reference" if method in catalogue.REFERENCES else "own" if method == report.method else ""
        rows.append((method, rank, cells))
    return Block(
        [(split, _common(m.n for m in here if m.split == split and m.range is None)) for split in splits], rows
    )


def _common(counts: Iterable[int | None]) -> int | None:
    """The one number that all share; None counts as sharing any."""
    known = {count for count in counts if count is not None}
    return known.pop() if len(known) == 1 else None
