"""Every measure: a table for each name and direction, a row a method, a column a split."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hf_stitch.report import catalogue
from hf_stitch.report.measure import Measure, find
from hf_stitch.report.rendering import bars
from hf_stitch.report.rendering.section import Section
from hf_stitch.report.report import Report

ORDER = 30
READS: tuple[str, ...] = ()


@dataclass(frozen=True)
class Group:
    """All measures of one name and direction: a row a method, a column a split."""

    name: str
    title: str
    meaning: str
    direction: str
    scale: bars.Scale
    splits: list[tuple[str, int | None]]  # with the number of samples where it is the same for all methods
    rows: list[tuple[str, str, list[bars.BarCell | None]]]  # (method, "own" | "reference" | "", one cell a split)
    unfolded: bool


def build(report: Report) -> Section | None:
    order = [*catalogue.MEASURES, *dict.fromkeys(m.name for m in report.measures if m.name not in catalogue.MEASURES)]
    groups = [
        _group(report, name, direction, [m for m in report.measures if (m.name, m.direction) == (name, direction)])
        for name in order
        for direction in ("forward", "backward")
    ]
    groups = [group for group in groups if group.rows]
    present = [name for name in catalogue.REFERENCES if any(m.method == name for m in report.measures)]
    ranges = any(m.range for m in report.measures)
    return Section("measures", {"groups": groups, "present": present, "ranges": ranges}) if groups else None


def _group(report: Report, name: str, direction: str, measures: list[Measure]) -> Group:
    scale = bars.Scale.around(measures, catalogue.scale_of(name))
    splits = sorted({m.split for m in measures}, key=lambda split: (not split.startswith("test"), split))
    present = dict.fromkeys(m.method for m in measures)
    order = sorted(present, key=lambda method: (method in catalogue.REFERENCES, method != report.method))
    rows: list[tuple[str, str, list[bars.BarCell | None]]] = []
    for method in order:
        cells: list[bars.BarCell | None] = []
        for split in splits:
            m = find(measures, name, method, split, direction)
            cells.append(None if m is None else bars.BarCell.of(m, scale, bars.marks(measures, m, scale)))
        rank = "reference" if method in catalogue.REFERENCES else "own" if method == report.method else ""
        rows.append((method, rank, cells))
    title, meaning, _ = catalogue.MEASURES.get(name, (catalogue.title_of(name), "", ""))
    columns = [(split, _common(m.n for m in measures if m.split == split)) for split in splits]
    return Group(name, title, meaning, direction, scale, columns, rows, name in catalogue.PRIMARY)


def _common(counts: Iterable[int | None]) -> int | None:
    """The one number that all share; None counts as sharing any."""
    known = {count for count in counts if count is not None}
    return known.pop() if len(known) == 1 else None
