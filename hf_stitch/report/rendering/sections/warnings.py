"""Warnings of the run and of every fit."""

from __future__ import annotations

from hf_stitch.report.rendering.section import Section
from hf_stitch.report.report import Report

ORDER = 20
READS = ("warnings", "fits")


def build(report: Report) -> Section | None:
    return Section("warnings", {"warnings": report.warnings}) if report.warnings else None
