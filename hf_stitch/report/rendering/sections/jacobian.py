"""Where the networks and the fitted map are one to one: condition numbers over the box of the inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hf_stitch.report.measure import number
from hf_stitch.report.plain_json import part
from hf_stitch.report.rendering import plots_trust
from hf_stitch.report.rendering.section import Figure, Section, Table, drawn, figure
from hf_stitch.report.rendering.variation import throughout
from hf_stitch.report.report import Report

ORDER = 80
READS = ("jacobian",)
LEAD = (
    "Condition numbers of Jacobians over the box of the fit's inputs and around it: the largest stretch, there or as "
    "it usually is, over the smallest. Dashed: the ends of singular places, where a Jacobian loses rank (above 100) "
    "or is turned over: the inputs fold there, and no map leads back."
)
LEAD_ROWS = (
    "The input has too many numbers for a grid: condition numbers of the map's Jacobian (before landing) at held-out "
    "activations, one a sample, along the first {directions} principal directions of the fitted ones, which hold "
    "{held:.0%} of their variance. Above 100, dashed, the map is counted as singular."
)
TITLE = "Where it can be inverted"
TITLES = {
    "source": "Input to the source's neurons",
    "map": "Source's neurons to where they are mapped, along the cloud",
    "target": "Input to the target's neurons",
}
ROWS = {"inside": "where it was fitted", "wider": "in a box twice as wide"}
COLUMNS = {
    "condition_median": "median",
    "condition_95": "95 %",
    "condition_max": "largest",
    "singular_share": "singular",
}


def build(report: Report) -> Section | None:
    found = part(report.diagnostics.jacobian)
    if held_out := part(found, "rows"):
        return _of_rows(held_out)
    parts = {title: part(found, name) for name, title in TITLES.items() if name in found}
    figures = [one for title, facts in parts.items() for one in _figure(title, facts)]
    rows = [
        _row(f"{title}, {words}", part(facts, key))
        for title, facts in parts.items()
        for key, words in ROWS.items()
        if part(facts, key)
    ]
    table = Table(["condition number", *COLUMNS.values()], rows)
    absent = str(found.get("absent") or "")
    shown = drawn(TITLE, figures, [table], f"{LEAD} {absent}".strip())
    return shown or (
        Section("figures", {"title": TITLE, "lead": absent, "figures": [], "tables": []}) if absent else None
    )


def _row(title: str, numbers: Mapping[str, Any]) -> list[str]:
    return [title, *(number(numbers.get(column)) for column in COLUMNS)]


def _of_rows(facts: Mapping[str, Any]) -> Section | None:
    """At held-out activations, where there is no grid of inputs."""
    title, values = "Condition numbers at held-out activations", facts.get("condition")
    values = values if isinstance(values, list) else []
    figures = figure(plots_trust.condition_shares(values, title), title, "cloud", throughout(values))
    table = Table(["condition number", *COLUMNS.values()], [_row(title, part(facts, "inside"))])
    return drawn(TITLE, figures, [table], LEAD_ROWS.format(**facts))


def _figure(title: str, facts: Mapping[str, Any]) -> list[Figure]:
    axes, values, odd = (facts.get(key) or [] for key in ("axes", "condition", "singular"))
    if not axes or len(values) != len(odd) or None in values:  # a report committed beside its card has no points
        return []
    fit = list(zip(facts["low"], facts["high"]))
    said = throughout(values) and f"condition number {throughout(values)}"
    if len(axes) == 1:
        return figure(plots_trust.condition_curve(axes[0], values, odd, fit[0], title), title, said=said)
    return figure(plots_trust.condition_map(axes, values, odd, fit, title), title, said=said)
