"""Do both models see one geometry? Spectra as ratios, and the first coordinates over the inputs, with false neighbours
or another metric beside the recipe's own where it compares them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hf_stitch.errors import RecipeError
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.recipe.side import SIDES
from hf_stitch.report.plain_json import part
from hf_stitch.report.rendering import plots
from hf_stitch.report.rendering.section import Figure, Section, Table, drawn, figure
from hf_stitch.report.rendering.variation import throughout
from hf_stitch.report.report import Report

ORDER = 100
READS = ("fits",)
_VALUES = 5  # eigenvalues after the constant; by hand
Sides = dict[str, dict[str, Any]]


def build(report: Report) -> Section | None:
    found = _geometries(report)
    figures = [one for label, sides in found.items() for one in _over_inputs(label, sides)]
    lead = (
        "Laplace eigenvalues over the first one, which no scale changes, and those of the two maps over each other. "
        "Where the inputs fill a box evenly and no false neighbours join, the ratios are those of the box."
    )
    tables = spectrum_tables(report)
    return drawn("The geometry that both models see", figures, tables, lead if tables else "")


def spectrum_tables(report: Report) -> list[Table]:
    """Laplace eigenvalues 1 to 5 of both maps as ratios, and of one map over the other; a box of the inputs last."""
    rows: list[tuple[str, ...]] = []
    boxes: list[tuple[str, ...]] = []
    for label, sides in _geometries(report).items():
        source, target = (np.array((sides[side].get("laplace") or [])[:_VALUES], float) for side in SIDES)
        if len(source) < 2 or len(source) != len(target) or min(source[0], target[0]) <= 0:
            continue
        rows += [(f"{label}, {side}", *_numbers(values / values[0])) for side, values in zip(SIDES, (source, target))]
        rows.append((f"{label}, target over source", *_numbers(target / source)))
        boxes = boxes or _box(sides["source"].get("inputs"), len(source))
    head = ("Laplace eigenvalue", *(str(k + 1) for k in range(max((len(row) for row in rows), default=1) - 1)))
    return [Table(head, rows + boxes)] if rows else []


def _geometries(report: Report) -> dict[str, Sides]:
    """Both maps of the first variant of every kind of neighbourhoods and every rule of neighbours."""
    try:
        variants = Recipe.parse(report.recipe).variants()
    except RecipeError:  # written by another version, or by hand
        return {}
    found: dict[tuple[Any, ...], tuple[str, Sides]] = {}
    for label, recipe in variants:
        fit = part(report.diagnostics.fits, label)
        sides: Sides = {side: part(fit, side) for side in SIDES}
        if all("laplace" in facts for facts in sides.values()):
            found.setdefault((recipe.neighborhoods.kind, recipe.stitch.get("neighbours")), (label, sides))
    return dict(found.values())


def _numbers(values: Sequence[float]) -> tuple[str, ...]:
    return tuple(f"{value:.3f}" for value in values)


def _box(inputs: Any, count: int) -> list[tuple[str, ...]]:
    """Eigenvalues of the Laplace operator with free ends on a box as large as the inputs: sums of (k / length)^2."""
    points = _points(inputs)
    if points is None or not (lengths := np.ptp(points, axis=0)).all():
        return []
    terms = itertools.product(range(count + 1), repeat=len(lengths))
    values = sorted(sum((k / length) ** 2 for k, length in zip(term, lengths)) for term in terms)[1 : count + 1]
    return [("a box of the inputs' lengths", *_numbers(np.array(values) / values[0]))]


def _over_inputs(label: str, sides: Sides) -> list[Figure]:
    """The first d coordinates of both maps over inputs of d = 1 or 2 numbers, the source's turned into the target's."""
    places = _points(sides["source"].get("inputs"))
    points = {side: _points(sides[side].get("coordinates")) for side in SIDES}
    source, target = points["source"], points["target"]
    if places is None or source is None or target is None or not len(places) == len(source) == len(target):
        return []
    count = min(places.shape[1], source.shape[1], target.shape[1])
    source, target = source[:, :count], target[:, :count]
    # Procrustes: each map has its coordinates up to signs, and those of equal eigenvalues up to a rotation.
    u, _, v = np.linalg.svd(source.T @ target)
    maps = {"source": source @ u @ v, "target": target}
    return _graph(label, places, maps) if places.shape[1] == 1 else _colours(label, places, maps)


def _graph(label: str, places: np.ndarray, maps: Mapping[str, np.ndarray]) -> list[Figure]:
    caption = f"{label}: first coordinate against the source's input, the source's turned by the best sign"
    lines = {side: list(zip(places[:, 0].tolist(), values[:, 0].tolist())) for side, values in maps.items()}
    values = [y for points in lines.values() for _, y in points]
    return figure(plots.graphs(lines, "input", "φ₁", caption), caption, "cloud", throughout(values))


def _colours(label: str, places: np.ndarray, maps: Mapping[str, np.ndarray]) -> list[Figure]:
    found = []
    for k in range(next(iter(maps.values())).shape[1]):
        for side, values in maps.items():
            turned = ", turned into the target's" if side == "source" else ""
            caption = f"{label}: coordinate {k + 1} of the {side} over the inputs{turned}"
            svg = plots.cloud(places.tolist(), values[:, k].tolist(), caption, ("x₁", "x₂"))
            found += figure(svg, caption, "cloud", throughout(values[:, k].tolist()))
    return found


def _points(rows: Any) -> np.ndarray | None:
    """Rows of numbers (n, d) as an array, None where they are anything else."""
    try:
        points = np.array(rows, float)
    except (TypeError, ValueError):
        return None
    return points if points.ndim == 2 and len(points) > 1 and np.isfinite(points).all() else None
