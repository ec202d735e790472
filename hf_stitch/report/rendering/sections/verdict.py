"""What was found, in words and in the two or three numbers that matter most."""

from __future__ import annotations

from hf_stitch.report import catalogue
from hf_stitch.report.measure import find
from hf_stitch.report.rendering import bars
from hf_stitch.report.rendering.section import Section
from hf_stitch.report.report import Report

ORDER = 10
READS: tuple[str, ...] = ()


def build(report: Report) -> Section:
    headline, tone = catalogue.verdict_words(report.verdict.code)
    return Section("verdict", {"headline": headline, "tone": tone, "keys": _keys(report)})


def _keys(report: Report) -> list[tuple[str, bars.BarCell]]:
    """The two or three numbers above everything else: those of the saved method on the test."""
    found = [find(report.measures, name, report.method) for name in catalogue.PRIMARY]
    if not any(m is not None and m.name == catalogue.DECIDING["classes"] for m in found):
        found.append(find(report.measures, "r2", report.method))
    result = []
    for m in found:
        if m is not None and m.value is not None:
            same = [other for other in report.measures if other.name == m.name and other.split == m.split]
            scale = bars.Scale.around(same, catalogue.scale_of(m.name))
            result.append((catalogue.title_of(m.name), bars.BarCell.of(m, scale, bars.marks(same, m, scale))))
    return result[:3]
