"""How many corresponding pairs a method needs."""

from __future__ import annotations

from hf_stitch.errors import RecipeError
from hf_stitch.measure import find
from hf_stitch.recipe import Recipe
from hf_stitch.report import Report
from hf_stitch.reporting import plots
from hf_stitch.reporting.sections.section import Figure, figure


def few_pairs(report: Report) -> list[Figure]:
    """Held-out error against the number of pairs, where the compared variants differ in it."""
    lines: dict[str, list[tuple[float, float]]] = {}
    try:
        variants = Recipe.parse(report.recipe).variants()
    except RecipeError:  # written by another version, or by hand
        return []
    for label, recipe in variants:
        m = find(report.measures, "relative_error", label)
        if recipe.stitch.pairs is not None and m is not None and m.value is not None:
            lines.setdefault(recipe.stitch.method, []).append((recipe.stitch.pairs, m.value))
    caption = "Few pairs: relative error on the test against the number of corresponding pairs"
    drawn = {method: points for method, points in lines.items() if len(points) > 1}
    return figure(plots.curves(drawn, "pairs", "relative error", caption), caption)
