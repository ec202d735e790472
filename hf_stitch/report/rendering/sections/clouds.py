"""The two clouds of activations: their diffusion coordinates, spectra, local metrics and alignment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hf_stitch.recipe.side import SIDES
from hf_stitch.report.plain_json import part
from hf_stitch.report.rendering import plots
from hf_stitch.report.rendering.section import Figure, Section, fact, figure, median_of
from hf_stitch.report.rendering.variation import throughout
from hf_stitch.report.report import Report

ORDER = 110
READS = ("fits", "colour")
_CLOUD = {
    "dimension": "intrinsic dimension, median (10th to 90th percentile)",
    "rank": "rank of the local metric",
    "bandwidth": "kernel bandwidth",
    "components": "connected components",
    "whitney": "Whitney's bound",
}


def build(report: Report) -> Section | None:
    label, sides = report.diagnostics.clouds(report.method)
    content = {
        "figures": _figures(sides, report.diagnostics.colour),
        "sides": _sides(sides),
        "alignment": _alignment(part(report.diagnostics.fits, label)),
    }
    return Section("clouds", {"mapped": label, **content}) if any(content.values()) else None


def _figures(sides: dict[str, dict[str, Any]], colour: Any = None) -> list[Figure]:
    """The clouds, coloured by the data's own numbers where they are given, and the numbers per coordinate."""
    found = {side: facts.get("coordinates") or [] for side, facts in sides.items()}
    found = {side: points if isinstance(points, list) else [] for side, points in found.items()}
    paired = len(found["source"]) == len(found["target"]) and found["source"]
    # Both clouds by the source's coordinate: points of one colour belong together.
    hue = [point[0] for point in found["source"]] if paired else None
    given = isinstance(colour, list) and None not in colour
    drawn = []
    for side, points in found.items():
        hue = colour if given and len(colour) == len(points) else hue
        svg = plots.cloud(points, hue, f"diffusion coordinates of the {side}")
        said = "all points lie at one place" if len(points) > 1 and all(point == points[0] for point in points) else ""
        drawn += figure(svg, f"Diffusion coordinates of the {side}", "cloud", said)
    for key, ylabel, caption in (
        ("eigenvalues", "eigenvalue a_p", "Eigenvalues of the two diffusion maps"),
        ("laplace", "Laplace eigenvalue", "Comparable spectra: Laplace eigenvalues"),
        ("residuals", "residual", "What each coordinate adds: residual of the regression on earlier ones"),
    ):
        values = {side: facts.get(key) or [] for side, facts in sides.items()}
        known = [(side, throughout(numbers)) for side, numbers in values.items()]
        said = ", ".join(f"{side} {words}" for side, words in known if words)
        drawn += figure(plots.spectra(values, ylabel, caption), caption, said=said)
    return drawn


def _sides(clouds: dict[str, dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Rows (fact, source, target) about the two clouds."""
    source, target = (clouds[side] for side in SIDES)
    rows = [(label, median_of(source.get(key)), median_of(target.get(key))) for key, label in _CLOUD.items()]
    return [row for row in rows if any(cell != "" for cell in row[1:])]


def _alignment(fit: Mapping[str, Any]) -> list[tuple[str, str]]:
    alignment = part(fit, "alignment")
    named = {
        "alignment": alignment.get("kind"),
        "pairs that serve it": alignment.get("pairs"),
        "alignment residual": alignment.get("residual"),
        "residual of all pairs": alignment.get("residual_of_all_pairs"),
        "margin to the next best map": alignment.get("margin"),
        "aligned coordinates": alignment.get("coordinates"),
        "interpolation centres": fit.get("centres"),
        "smoothing": fit.get("smoothing"),
    }
    return [(name, fact(value)) for name, value in named.items() if value is not None]
