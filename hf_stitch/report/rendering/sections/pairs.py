"""How many corresponding pairs a method needs: held-out error against their number, as curves and as a table."""

from __future__ import annotations

from hf_stitch.errors import RecipeError
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.report.measure import Measure, find
from hf_stitch.report.rendering import plots
from hf_stitch.report.rendering.section import Section, Table, drawn, figure
from hf_stitch.report.report import Report

ORDER = 90
READS: tuple[str, ...] = ()
_CAPTION = "Few pairs: relative error on the test against the number of corresponding pairs"


def build(report: Report) -> Section | None:
    lines = _lines(report)
    points = {
        method: [(n, m.value) for n, m in counts.items() if m.value is not None] for method, counts in lines.items()
    }
    shown = figure(plots.curves(points, "pairs", "relative error", _CAPTION), _CAPTION, "wide")
    return drawn("How many pairs it needs", shown, few_pairs_tables(report))


def few_pairs_tables(report: Report) -> list[Table]:
    """Relative error on the test: a row for each number of pairs, a column a method; empty where it was not defined."""
    lines = _lines(report)
    numbers = sorted({n for counts in lines.values() for n in counts})
    rows = [(str(n), *(counts[n].written() if n in counts else "" for counts in lines.values())) for n in numbers]
    return [Table(("pairs", *lines), rows)] if rows else []


def few_pairs_labels(report: Report) -> set[str]:
    """Methods of the report that differ in the number of pairs alone, the recipe's own left out."""
    return {m.method for counts in _lines(report).values() for m in counts.values()} - {str(report.method)}


def _lines(report: Report) -> dict[str, dict[int, Measure]]:
    """Error by method and number of pairs, of methods that have at least two numbers on the recipe's own data."""
    lines: dict[str, dict[int, Measure]] = {}
    try:
        (_, own), *others = Recipe.parse(report.recipe).variants()
    except RecipeError:  # written by another version, or by hand
        return {}
    for label, recipe in [(report.method or "", own), *others]:
        m = find(report.measures, "relative_error", label)
        count = recipe.stitch.get("pairs")
        if count is not None and m is not None and m.value is not None and _alike(recipe, own):
            lines.setdefault(recipe.stitch.method, {}).setdefault(count, m)
    return {method: counts for method, counts in lines.items() if len(counts) > 1}


def _alike(recipe: Recipe, own: Recipe) -> bool:
    """Not another geometry of the same method: one curve shows one thing."""
    mapped = not recipe.stitch.needs_metric or recipe.stitch.get("neighbours") == own.stitch.get("neighbours")
    ends = (recipe.source, recipe.target, recipe.data, recipe.neighborhoods)
    return mapped and ends == (own.source, own.target, own.data, own.neighborhoods)
