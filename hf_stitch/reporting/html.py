"""One self-contained page from a report: inline style and figures, no scripts, nothing fetched."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import yaml
from markupsafe import Markup, escape

from hf_stitch.errors import RecipeError
from hf_stitch.measure import REFERENCES, Measure, find
from hf_stitch.recipe import Recipe
from hf_stitch.report import Report
from hf_stitch.reporting import plots, words
from hf_stitch.reporting.facts import SIDES, clouds_of, notes_of, part, warnings_of

TEMPLATES = Path(__file__).parent / "templates"


_CLOUD = {
    "dimension": "intrinsic dimension, median [quartiles]",
    "rank": "rank of the local metric",
    "bandwidth": "kernel bandwidth",
    "components": "connected components",
    "whitney": "Whitney's bound",
}
_DRAWN = {"coordinates", "eigenvalues", "laplace", "residuals", "warnings", "whitney"}


@dataclass(frozen=True)
class Scale:
    """Where numbers lie on a bar, in percent of its width."""

    low: float
    high: float
    logarithmic: bool = False

    @classmethod
    def around(cls, measures: Sequence[Measure], kind: str) -> Scale:
        """The scale of measures of one name: fixed for shares, else wide enough for all intervals."""
        ends = [end for m in measures for end in (m.value, m.low, m.high) if end is not None]
        if kind == "share":
            return cls(0.0, 1.0)
        if kind == "signed":
            widest = max([0.05, *(abs(end) for end in ends)]) * 1.1
            differences = all("_minus_" in m.name for m in measures)
            return cls(-widest, widest) if differences else cls(min([-0.1, *ends]), 1.0)
        positive = [end for end in ends if end > 0]
        if positive and max(positive) > 30 * min(positive):
            return cls(10 ** math.floor(math.log10(min(positive))), 10 ** math.ceil(math.log10(max(positive))), True)
        return cls(0.0, max([*ends, 1e-12]) * 1.1)

    def at(self, value: float) -> float:
        """Position of a value, held within the bar."""
        if self.logarithmic:
            value = max(value, self.low)
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return round(100 * min(max(share, 0.0), 1.0), 2)

    def __str__(self) -> str:
        name = "logarithmic, " if self.logarithmic else ""
        return f"{name}{self.low:.3g} to {self.high:.3g}"


@dataclass(frozen=True)
class Cell:
    """A measure drawn: positions in percent, and those of the references beside it."""

    measure: Measure
    point: float | None
    left: float
    width: float
    zero: float | None
    marks: list[tuple[str, float]]

    @classmethod
    def of(cls, m: Measure, scale: Scale, marks: list[tuple[str, float]]) -> Cell:
        point = None if m.value is None else scale.at(m.value)
        left, right = (point or 0.0 if end is None else scale.at(end) for end in (m.low, m.high))
        zero = scale.at(0.0) if scale.low < 0 < scale.high else None
        return cls(m, point, left, round(right - left, 2), zero, marks)


@dataclass(frozen=True)
class Group:
    """All measures of one name and direction: a row a method, a column a split."""

    name: str
    title: str
    meaning: str
    direction: str
    scale: Scale
    splits: list[tuple[str, int | None]]  # with the number of samples where it is the same for all methods
    rows: list[tuple[str, str, list[Cell | None]]]  # (method, "own" | "reference" | "", one cell a split)
    unfolded: bool


def page_for(report: Report) -> str:
    """`report.html` as text, a pure function of the report."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(ticks=_ticks, size=words.size, seconds=words.seconds, title_of=words.title_of)
    environment.globals.update(references=words.REFERENCES)
    headline, tone = words.verdict_words(report.verdict.code)
    label, clouds = clouds_of(report)
    fit = part(report.diagnostics, "fits", label)
    text = environment.get_template("report.html.j2").render(
        report=report,
        headline=headline,
        tone=tone,
        route=_route(report.recipe),
        keys=_keys(report),
        groups=_groups(report),
        present=[name for name in REFERENCES if any(m.method == name for m in report.measures)],
        by_length=_profile(report, "error_by_length"),
        by_class=_profile(report, "error_by_class"),
        mapped=label,
        figures=_figures(clouds) + _few_pairs(report),
        sides=_sides(clouds),
        alignment=_alignment(fit),
        warnings=warnings_of(report),
        notes=notes_of(report),
        timings=_timings(report),
        details=_details(report),
        recipe=yaml.safe_dump(report.recipe, sort_keys=False, allow_unicode=True, width=100),
        folder=words.folder_of(report.name),
    )
    return text.strip() + "\n"


def _ticks(text: str) -> Markup:
    """Escaped text in which `words between backticks` are code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _keys(report: Report) -> list[tuple[str, Cell]]:
    """The two or three numbers above everything else: those of the saved method on the test."""
    found = [find(report.measures, name, report.method) for name in words.PRIMARY]
    if not any(m is not None and m.name == "agreement" for m in found):
        found.append(find(report.measures, "r2", report.method))
    result = []
    for m in found:
        if m is not None and m.value is not None:
            same = [other for other in report.measures if other.name == m.name and other.split == m.split]
            scale = Scale.around(same, _kind(m.name))
            result.append((words.title_of(m.name), Cell.of(m, scale, _marks(same, m, scale))))
    return result[:3]


def _groups(report: Report) -> list[Group]:
    order = [*words.MEASURES, *dict.fromkeys(m.name for m in report.measures if m.name not in words.MEASURES)]
    groups = [
        _group(report, name, direction, [m for m in report.measures if (m.name, m.direction) == (name, direction)])
        for name in order
        for direction in ("forward", "backward")
    ]
    return [group for group in groups if group.rows]


def _group(report: Report, name: str, direction: str, measures: list[Measure]) -> Group:
    scale = Scale.around(measures, _kind(name))
    splits = sorted({m.split for m in measures}, key=lambda split: (not split.startswith("test"), split))
    present = dict.fromkeys(m.method for m in measures)
    order = sorted(present, key=lambda method: (method in REFERENCES, method != report.method))
    rows: list[tuple[str, str, list[Cell | None]]] = []
    for method in order:
        cells: list[Cell | None] = []
        for split in splits:
            m = find(measures, name, method, split, direction)
            cells.append(None if m is None else Cell.of(m, scale, _marks(measures, m, scale)))
        rank = "reference" if method in REFERENCES else "own" if method == report.method else ""
        rows.append((method, rank, cells))
    title, meaning, _ = words.MEASURES.get(name, (words.title_of(name), "", ""))
    columns = [(split, _common(m.n for m in measures if m.split == split)) for split in splits]
    return Group(name, title, meaning, direction, scale, columns, rows, name in words.PRIMARY)


def _common(counts: Iterable[int | None]) -> int | None:
    """The one number that all share; None counts as sharing any."""
    known = {count for count in counts if count is not None}
    return known.pop() if len(known) == 1 else None


def _marks(measures: Sequence[Measure], m: Measure, scale: Scale) -> list[tuple[str, float]]:
    """Positions of the references' values of the same name and split, on the bar of another method."""
    beside = ((reference, find(list(measures), m.name, reference, m.split, m.direction)) for reference in REFERENCES)
    return [
        (reference, scale.at(other.value))
        for reference, other in beside
        if other is not None and other.value is not None and reference != m.method
    ]


def _kind(name: str) -> str:
    return words.MEASURES[name][2] if name in words.MEASURES else "error"


def _route(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The strip at the top: which halves, which layer, which length rule."""
    source, target, stitch, sequence = (part(recipe, key) for key in (*SIDES, "stitch", "sequence"))
    length = sequence.get("length", "")
    return {"source": source, "target": target, "method": stitch.get("method", "affine"), "length": length}


def _figures(sides: dict[str, dict[str, Any]]) -> list[tuple[Markup, str, str]]:
    """(SVG, caption, kind) of the clouds and the numbers per coordinate."""
    clouds = {side: facts.get("coordinates") or [] for side, facts in sides.items()}
    clouds = {side: points if isinstance(points, list) else [] for side, points in clouds.items()}
    paired = len(clouds["source"]) == len(clouds["target"]) and clouds["source"]
    hue = [point[0] for point in clouds["source"]] if paired else None
    drawn = [
        (
            plots.cloud(points, hue, f"diffusion coordinates of the {side}"),
            f"Diffusion coordinates of the {side}",
            "cloud",
        )
        for side, points in clouds.items()
    ]
    for key, ylabel, caption in (
        ("eigenvalues", "eigenvalue a_p", "Eigenvalues of the two diffusion maps"),
        ("laplace", "Laplace eigenvalue", "Comparable spectra: Laplace eigenvalues"),
        ("residuals", "residual", "What each coordinate adds: residual of the regression on earlier ones"),
    ):
        values = {side: facts.get(key) or [] for side, facts in sides.items()}
        drawn.append((plots.spectra(values, ylabel, caption), caption, "spectrum"))
    return [(Markup(svg), caption, kind) for svg, caption, kind in drawn if svg]


def _few_pairs(report: Report) -> list[tuple[Markup, str, str]]:
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
    svg = plots.curves(drawn, "pairs", "relative error", caption)
    return [(Markup(svg), caption, "spectrum")] if svg else []


def _sides(clouds: dict[str, dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Rows (fact, source, target) about the two clouds."""
    source, target = (clouds[side] for side in SIDES)
    rows = [(label, _fact(source.get(key)), _fact(target.get(key))) for key, label in _CLOUD.items()]
    return [row for row in rows if any(cell != "" for cell in row[1:])]


def _fact(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list) and len(value) == 3 and all(isinstance(part, int | float) for part in value):
        return f"{value[0]:.3g} [{value[1]:.3g}, {value[2]:.3g}]"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list) and len(value) > 12:
        return f"{len(value)} values"
    return str(value)


def _alignment(fit: Mapping[str, Any]) -> list[tuple[str, str]]:
    alignment = part(fit, "alignment")
    named = {
        "alignment residual": alignment.get("residual"),
        "aligned coordinates": alignment.get("coordinates"),
        "interpolation centres": fit.get("centres"),
        "smoothing": fit.get("smoothing"),
    }
    return [(name, _fact(value)) for name, value in named.items() if value is not None]


def _profile(report: Report, key: str) -> list[tuple[str, Cell]]:
    """Bars of `error_by_length` or `error_by_class`: share of answers other than the target's, a bar a bin."""
    rows = part(report.diagnostics, key)
    ends = ("value", "low", "high", "n")
    found = [(name, part(rows, name)) for name in rows]
    measures = [
        Measure("error", name, better=None, **dict[str, Any]({end: row.get(end) for end in ends}))
        for name, row in found
    ]
    scale = Scale.around(measures, "share")
    return [(m.method, Cell.of(m, scale, [])) for m in measures]


def _timings(report: Report) -> list[tuple[str, float, float]]:
    """(stage, seconds, percent of the longest), in the order of the run."""
    known = {stage: value for stage, value in report.timings.items() if value is not None and stage != "total"}
    longest = max(known.values(), default=0.0) or 1.0
    return [(stage, value, round(100 * value / longest, 2)) for stage, value in known.items()]


def _details(report: Report) -> dict[str, list[tuple[str, str]]]:
    """Whatever else the report holds, flattened: nothing in report.json stays unseen."""
    shown = {"fits", "error_by_length", "error_by_class", "warnings"}
    other = {key: value for key, value in report.diagnostics.items() if key not in shown}
    for label, fit in part(report.diagnostics, "fits").items():
        other[label] = _without(fit)
    return {
        "Parameters": _flat(report.parameters),
        "Diagnostics": _flat(other),
        "Environment": _flat(report.environment),
    }


def _without(fit: Any) -> Any:
    """A fit's facts without those that are drawn."""
    if isinstance(fit, dict):
        return {key: _without(value) for key, value in fit.items() if key not in _DRAWN}
    return fit


def _flat(value: Any, path: str = "") -> list[tuple[str, str]]:
    if isinstance(value, dict) and value:
        return [row for key, item in value.items() for row in _flat(item, f"{path}.{key}" if path else str(key))]
    if isinstance(value, int) and not isinstance(value, bool):
        return [(path, f"{value:,}".replace(",", "\u202f"))] if path else []
    if isinstance(value, dict):
        return []
    if isinstance(value, list) and len(value) <= 12:
        return [(path, ", ".join(_fact(item) for item in value))]
    return [(path, _fact(value))] if path else []
