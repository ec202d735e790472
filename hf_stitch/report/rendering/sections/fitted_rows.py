"""What each map was fitted on: corresponding rows, words that were not recognised, and dimensions that show there."""

from __future__ import annotations

from typing import Any

from hf_stitch.recipe.side import SIDES
from hf_stitch.report.plain_json import part
from hf_stitch.report.rendering.section import Section, Table, drawn, fact, median_of
from hf_stitch.report.report import Report

ORDER = 95
READS = ("fits",)
_HEAD = ("method", "rows", "words left out", *(f"dimensions, {side}" for side in SIDES))


def build(report: Report) -> Section | None:
    fits = part(report.diagnostics.fits)
    rows = [_row(label, part(fits, label)) for label in fits if "rows" in part(fits, label)]
    used = [k for k in range(len(_HEAD)) if k == 0 or any(row[k] for row in rows)]
    table = Table([_HEAD[k] for k in used], [[row[k] for k in used] for row in rows])
    lead = (
        "A row is one timestep or word of one sample on both sides. Dimensions are those that the neighbourhoods of "
        "the rows show: the median row's, and the 10th and 90th percentile."
    )
    return drawn("What the maps were fitted on", [], [table], lead)


def _row(label: str, fit: dict[str, Any]) -> tuple[str, ...]:
    dimensions = (median_of(part(fit, "neighbourhoods", side).get("dimension")) for side in SIDES)
    return label, f"{fit['rows']:,}".replace(",", "\u202f"), fact(fit.get("dropped_words") or None), *dimensions
