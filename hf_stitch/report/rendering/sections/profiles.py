"""Where it fails: the share of other answers by class and by length, or in a line where there is one bin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hf_stitch.report.measure import Measure
from hf_stitch.report.plain_json import part
from hf_stitch.report.rendering import bars
from hf_stitch.report.rendering.section import Section
from hf_stitch.report.rendering.variation import varies
from hf_stitch.report.report import Report

ORDER = 60
READS = ("error_by_length", "error_by_class")
# of one bin, of several alike
SAID = (
    ("All inputs are of {} timesteps", "The same at all {} lengths of the input"),
    ("The target answers {} to all test samples", "The same for all {} classes of the target"),
)
Row = tuple[str, bars.BarCell]


def build(report: Report) -> Section | None:
    found = report.diagnostics
    content = {"by_length": _profile(part(found.error_by_length)), "by_class": _profile(part(found.error_by_class))}
    said = [_said(rows, words) for rows, words in zip(content.values(), SAID) if _said(rows, words)]
    drawn = {name: rows if varies([_share(row) for row in rows]) else [] for name, rows in content.items()}
    return Section("profiles", {**drawn, "said": said}) if any(content.values()) else None


def _share(row: Row) -> float:
    value = row[1].measure.value
    return 0.0 if value is None else value


def _said(rows: list[Row], words: tuple[str, str]) -> str:
    """What is said of bins that are one, or all alike; nothing of others."""
    if not rows or varies([_share(row) for row in rows]):
        return ""
    count = sum(row[1].measure.n or 0 for row in rows)
    low, _, high = rows[0][0].partition("-")  # a bin of one length is called 7-7
    one = words[0].format(low if low == high else rows[0][0]) if len(rows) == 1 else words[1].format(len(rows))
    return f"{one}: {100 * _share(rows[0]):.1f} % other answers, n = {count}."


def _profile(rows: Mapping[str, Any]) -> list[Row]:
    """Share of answers other than the target's, a bar a bin."""
    ends = ("value", "low", "high", "n")
    found = [(name, part(rows, name)) for name in rows]
    measures = [
        Measure("error", name, better=None, **dict[str, Any]({end: row.get(end) for end in ends}))
        for name, row in found
    ]
    scale = bars.Scale.around(measures, "share")
    return [(m.method, bars.BarCell.of(m, scale, [])) for m in measures]
