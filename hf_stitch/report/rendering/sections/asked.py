"""What was asked: the recipe, and whatever else the report holds."""

from __future__ import annotations

from typing import Any

import yaml

from hf_stitch.report.plain_json import part
from hf_stitch.report.rendering.find_sections import shown_diagnostics
from hf_stitch.report.rendering.run_words import path_words
from hf_stitch.report.rendering.section import Section, flat
from hf_stitch.report.report import Report

ORDER = 150
READS: tuple[str, ...] = ()
# facts of fits that other sections show
_DRAWN = {"coordinates", "eigenvalues", "inputs", "laplace", "residuals", "warnings", "whitney"}


def build(report: Report) -> Section:
    """The recipe, and what no other section shows, flattened: nothing in report.json stays unseen."""
    shown = shown_diagnostics()
    other = {key: value for key, value in report.diagnostics.to_plain().items() if key not in shown}
    other |= report.diagnostics.other  # also what bears the name of a field but not its shape
    for label, fit in part(report.diagnostics.fits).items():
        other[label] = _without(fit)
    details = {
        "Diagnostics": flat(other),
        "Environment": [(path_words(path), text) for path, text in flat(report.environment)],
    }
    recipe = yaml.safe_dump(report.recipe, sort_keys=False, allow_unicode=True, width=100)
    return Section("asked", {"recipe": recipe, "details": [(title, rows) for title, rows in details.items() if rows]})


def _without(fit: Any) -> Any:
    """A fit's facts without those that are drawn."""
    if isinstance(fit, dict):
        return {key: _without(value) for key, value in fit.items() if key not in _DRAWN}
    return fit
