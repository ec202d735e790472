"""The few numbers of a report that a person reads first: one row a method, on the test split."""

from __future__ import annotations

from collections.abc import Sequence

from hf_stitch.report import catalogue
from hf_stitch.report.measure import Measure, find, number
from hf_stitch.report.report import Report


def summary(report: Report, split: str = "test") -> tuple[list[str], list[list[str]]]:
    """Headers and rows: each method and reference with its measures and their 95 % intervals.

    Of a group's median `(low to high over n)` is the range of its n members. The method that was saved carries a star.
    A measure that no method has gives no column.
    """
    kept = [m for m in report.measures if m.split == split]
    names = catalogue.COLUMNS[catalogue.kind_of(m.name for m in kept)]
    shown = {name: title for name, title in names.items() if any(m.name == name for m in kept)}
    rows = []
    for direction in dict.fromkeys(m.direction for m in kept):
        for method in dict.fromkeys(m.method for m in kept if m.direction == direction):
            found = [find(kept, name, method, split, direction) for name in shown]
            if any(found):
                label = method + (" (backward)" if direction == "backward" else "")
                star = " *" if method == report.method and direction == "forward" else ""
                count = next(m.n for m in found if m is not None)
                rows.append([label + star, *("" if m is None else m.written(number) for m in found), str(count)])
    return ["method", *shown.values(), "n"], rows


def summary_line(measures: Sequence[Measure], split: str = "test") -> str:
    """The measures of one method that people read first, in a line; empty where there are none on that split."""
    kept = {m.name: m for m in measures if m.split == split}
    names = catalogue.COLUMNS[catalogue.kind_of(kept)]
    return ", ".join(f"{title} {kept[name].written(number)}" for name, title in names.items() if name in kept)


def summary_markdown(report: Report) -> str:
    """The summary as a Markdown table."""
    head, rows = summary(report)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace(" *", " \\*") for cell in line) + " |" for line in lines)
