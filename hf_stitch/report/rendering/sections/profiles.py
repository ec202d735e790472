"""Where it fails: the share of other answers by class and by length."""

from __future__ import annotations

from typing import Any

from hf_stitch.report.diagnostics import part
from hf_stitch.report.measure import Measure
from hf_stitch.report.rendering import bars
from hf_stitch.report.rendering.sections.section import Section
from hf_stitch.report.report import Report


def profiles(report: Report) -> Section | None:
    content = {"by_length": _profile(report, "error_by_length"), "by_class": _profile(report, "error_by_class")}
    return Section("profiles", content) if any(content.values()) else None


def _profile(report: Report, key: str) -> list[tuple[str, bars.BarCell]]:
    """Bars of `error_by_length` or `error_by_class`: share of answers other than the target's, a bar a bin."""
    rows = part(report.diagnostics, key)
    ends = ("value", "low", "high", "n")
    found = [(name, part(rows, name)) for name in rows]
    measures = [
        Measure("error", name, better=None, **dict[str, Any]({end: row.get(end) for end in ends}))
        for name, row in found
    ]
    scale = bars.Scale.around(measures, "share")
    return [(m.method, bars.BarCell.of(m, scale, [])) for m in measures]
