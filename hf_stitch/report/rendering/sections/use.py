"""How to use what came of the run."""

from __future__ import annotations

from hf_stitch.report.rendering.examples import examples_of
from hf_stitch.report.rendering.section import Section
from hf_stitch.report.report import Report

ORDER = 130
READS: tuple[str, ...] = ("usage",)


def build(report: Report) -> Section:
    return Section("use", {"examples": examples_of(report)})
