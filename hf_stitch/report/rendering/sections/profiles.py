"""Where it fails: the share of other answers by class and by length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hf_stitch.report.measure import Measure
from hf_stitch.report.plain_json import part
from hf_stitch.report.rendering import bars
from hf_stitch.report.rendering.section import Section
from hf_stitch.report.report import Report

ORDER = 60
READS = ("error_by_length", "error_by_class")


def build(report: Report) -> Section | None:
    found = report.diagnostics
    content = {"by_length": _profile(part(found.error_by_length)), "by_class": _profile(part(found.error_by_class))}
    return Section("profiles", content) if any(content.values()) else None


def _profile(rows: Mapping[str, Any]) -> list[tuple[str, bars.BarCell]]:
    """Share of answers other than the target's, a bar a bin."""
    ends = ("value", "low", "high", "n")
    found = [(name, part(rows, name)) for name in rows]
    measures = [
        Measure("error", name, better=None, **dict[str, Any]({end: row.get(end) for end in ends}))
        for name, row in found
    ]
    scale = bars.Scale.around(measures, "share")
    return [(m.method, bars.BarCell.of(m, scale, [])) for m in measures]
