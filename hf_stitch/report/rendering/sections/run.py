"""The run: warnings, notes, what it took, what was asked, and how to use what came of it."""

from __future__ import annotations

from typing import Any

import yaml

from hf_stitch.report import units
from hf_stitch.report.diagnostics import notes_of, part, warnings_of
from hf_stitch.report.rendering.sections.section import Section, flat
from hf_stitch.report.report import Report

_SHOWN = {
    "fits", "jacobian", "error_by_distance", "risk_coverage", "error_by_length", "error_by_class", "warnings", "written"
}  # fmt: skip
_DRAWN = {"coordinates", "eigenvalues", "inputs", "laplace", "residuals", "warnings", "whitney"}


def warnings(report: Report) -> Section | None:
    found = warnings_of(report)
    return Section("warnings", {"warnings": found}) if found else None


def notes(report: Report) -> Section | None:
    found = notes_of(report)
    return Section("notes", {"notes": found}) if found else None


def cost(report: Report) -> Section:
    """(stage, seconds, percent of the longest) in the order of the run, memory and parameters."""
    known = {stage: value for stage, value in report.timings.items() if value is not None and stage != "total"}
    longest = max(known.values(), default=0.0) or 1.0
    timings = [(stage, value, round(100 * value / longest, 2)) for stage, value in known.items()]
    return Section("cost", {"timings": timings, "parameters": flat(report.parameters)})


def use(report: Report) -> Section:
    return Section("use", {"folder": units.folder_of(report.name)})


def asked(report: Report) -> Section:
    """The recipe, and whatever else the report holds, flattened: nothing in report.json stays unseen."""
    other = {key: value for key, value in report.diagnostics.items() if key not in _SHOWN}
    for label, fit in part(report.diagnostics, "fits").items():
        other[label] = _without(fit)
    details = {"Diagnostics": flat(other), "Environment": flat(report.environment)}
    recipe = yaml.safe_dump(report.recipe, sort_keys=False, allow_unicode=True, width=100)
    return Section("asked", {"recipe": recipe, "details": [(title, rows) for title, rows in details.items() if rows]})


def _without(fit: Any) -> Any:
    """A fit's facts without those that are drawn."""
    if isinstance(fit, dict):
        return {key: _without(value) for key, value in fit.items() if key not in _DRAWN}
    return fit
