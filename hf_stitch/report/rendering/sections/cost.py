"""What the run took: time by stage, memory and parameters."""

from __future__ import annotations

from hf_stitch.report.rendering.section import Section, flat
from hf_stitch.report.report import Report

ORDER = 120
READS: tuple[str, ...] = ()


def build(report: Report) -> Section:
    """(stage, seconds, percent of the longest) in the order of the run, memory and parameters."""
    known = {stage: value for stage, value in report.timings.items() if value is not None and stage != "total"}
    longest = max(known.values(), default=0.0) or 1.0
    timings = [(stage, value, round(100 * value / longest, 2)) for stage, value in known.items()]
    return Section("cost", {"timings": timings, "parameters": flat(report.parameters)})
