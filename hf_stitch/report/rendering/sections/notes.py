"""Notes of the run that are not among its warnings."""

from __future__ import annotations

from hf_stitch.report.rendering.section import Section
from hf_stitch.report.report import Report

ORDER = 140
READS: tuple[str, ...] = ()


def build(report: Report) -> Section | None:
    return Section("notes", {"notes": report.further_notes}) if report.further_notes else None
