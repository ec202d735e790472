"""Where the networks and the fitted map are one to one: condition numbers over the box of the inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hf_stitch.measure import number
from hf_stitch.report import Report
from hf_stitch.reporting import plots_trust
from hf_stitch.reporting.facts import part
from hf_stitch.reporting.sections.section import Figure, Section, Table, drawn, figure

LEAD = (
    "Condition numbers of Jacobians over the box of the fit's inputs and half as far again beyond it. Dashed: singular "
    "places, where a Jacobian loses rank (condition number above 100) or turns over: the inputs fold there, and no map "
    "leads back."
)
TITLES = {
    "source": "Input to the source's neurons",
    "map": "Source's neurons to where they are mapped, along the cloud",
    "target": "Input to the target's neurons",
}
ROWS = {"inside": "where it was fitted", "wider": "half as far again"}
COLUMNS = {
    "condition_median": "median",
    "condition_95": "95 %",
    "condition_max": "largest",
    "singular_share": "singular",
}
SINGULAR = 100.0


def jacobian(report: Report) -> Section | None:
    found = part(report.diagnostics, "jacobian")
    parts = {title: part(found, name) for name, title in TITLES.items() if name in found}
    figures = [one for title, facts in parts.items() for one in _figure(title, facts)]
    rows = [
        [f"{title}, {words}", *(number(part(facts, key).get(column)) for column in COLUMNS)]
        for title, facts in parts.items()
        for key, words in ROWS.items()
        if part(facts, key)
    ]
    table = Table(["condition number", *COLUMNS.values()], rows)
    return drawn("Where it can be inverted", figures, [table], LEAD)


def _figure(title: str, facts: Mapping[str, Any]) -> list[Figure]:
    axes, values, over = (facts.get(key) or [] for key in ("axes", "condition", "folded"))
    if not axes or len(values) != len(over) or None in values:  # a report committed beside its card has no points
        return []
    odd = [bool(turned) or value > SINGULAR for turned, value in zip(over, values)]
    fit = list(zip(facts["low"], facts["high"]))
    if len(axes) == 1:
        return figure(plots_trust.condition_curve(axes[0], values, odd, fit[0], title), title)
    return figure(plots_trust.condition_map(axes, values, odd, fit, title), title)
