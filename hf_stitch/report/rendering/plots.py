"""Figures as SVG text, made of what a report holds. Only the `plots*` files import matplotlib.

The same data give the same text: hash salts are fixed, dates and other metadata left out. Colours are CSS variables, so
that a figure follows the page into the dark. Every function returns "" where there is nothing to draw, or nothing that
varies.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator

from hf_stitch.report.rendering.ticks import readable_ticks
from hf_stitch.report.rendering.variation import varies

# Colours that matplotlib draws with, and that nothing else has, for the CSS variables that replace them in the SVG.
_VARIABLES = {
    "#010101": "var(--ink)",
    "#020202": "var(--muted)",
    "#030303": "var(--line)",
    "#040404": "var(--source)",
    "#050505": "var(--target)",
}
INK, MUTED, LINE, SOURCE, TARGET = _VARIABLES
SIDES = {"source": SOURCE, "target": TARGET}
# From dark to light, so that it is read without colour too.
RAMP = LinearSegmentedColormap.from_list("ramp", ["#3f5bc8", "#b5559f", "#efb04e"])
_BINS = 12  # colours of a cloud; by hand: a path for each
_DRAWN = 800  # points of a cloud that are drawn; by hand
# By hand, but for what is said beside it.
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: searched, read aloud, in the page's font
    "font.family": "sans-serif",
    "font.size": 9.0,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "text.color": INK,
    "text.parse_math": False,  # names of the data may hold dollars
    "axes.unicode_minus": True,
}


def cloud(
    points: Sequence[Sequence[float]],
    hue: Sequence[float] | None,
    title: str,
    names: tuple[str, str] = ("φ₁", "φ₂"),
) -> str:
    """Points in the plane, such as coordinates phi_1, phi_2, coloured by `hue` (a number each; the first when None)."""
    array = _table(points)
    if array.shape[0] < 2 or not any(varies(column) for column in array[:, :2].T):
        return ""
    colour = array[:, 0] if hue is None else np.asarray(hue, dtype=float)
    keep = np.unique(np.linspace(0, len(array) - 1, min(len(array), _DRAWN)).astype(int))
    array, colour = array[keep], colour[keep]
    x, y = (array[:, 0], array[:, 1]) if array.shape[1] > 1 else (keep.astype(float), array[:, 0])
    names = names if array.shape[1] > 1 else ("sample", names[0])

    def draw(axes: Axes) -> None:
        # Colours by rank, so that each has as many points however uneven the numbers are.
        rank = np.argsort(np.argsort(colour, kind="stable"), kind="stable") * _BINS // len(colour)
        for index in range(_BINS):
            dots = np.flatnonzero(rank == index)
            if len(dots):
                axes.add_patch(_dots(x[dots], y[dots], to_hex(RAMP(index / (_BINS - 1)))))
        for low, high, limits in ((x.min(), x.max(), axes.set_xlim), (y.min(), y.max(), axes.set_ylim)):
            room = 0.06 * (high - low) or 1.0
            limits(low - room, high + room)
        axes.set(xlabel=names[0], ylabel=names[1])

    return draw_svg(draw, title, salt="cloud")


def spectra(values: Mapping[str, Sequence[float]], ylabel: str, title: str) -> str:
    """Numbers per coordinate of both models, e.g. eigenvalues, as two lines."""
    # 40 by hand.
    drawn = {side: [v for v in numbers if v is not None][:40] for side, numbers in values.items() if numbers}
    drawn = {side: numbers for side, numbers in drawn.items() if numbers}
    if not any(varies(numbers) for numbers in drawn.values()):
        return ""

    def draw(axes: Axes) -> None:
        for side, numbers in drawn.items():
            # The source lies thicker beneath, so that it is seen where the two agree.
            look: dict[str, Any] = (
                {"marker": "o", "ms": 5.5, "lw": 2.8} if side == "source" else {"marker": "s", "ms": 2.4, "lw": 1.0}
            )
            axes.plot(range(1, len(numbers) + 1), numbers, color=SIDES[side], label=side, **look)
        axes.set(xlabel="coordinate", ylabel=ylabel)
        axes.legend(frameon=False, labelcolor="linecolor", handlelength=1.4)
        _whole_numbers(axes)

    return draw_svg(draw, title, salt="spectra")


def curves(lines: Mapping[str, Sequence[tuple[float, float]]], xlabel: str, ylabel: str, title: str) -> str:
    """Points (x, y) above 0 of up to four named lines, both axes logarithmic."""
    drawn = {name: [p for p in sorted(points) if min(p) > 0] for name, points in lines.items()}
    drawn = {name: points for name, points in drawn.items() if points}
    if not _both_vary(drawn):
        return ""

    def draw(axes: Axes) -> None:
        looks = ((SOURCE, "o", "-"), (TARGET, "s", "-"), (MUTED, "^", "--"), (INK, "v", ":"))
        for (name, points), (colour, marker, style) in zip(drawn.items(), looks):
            x, y = zip(*points)
            axes.plot(x, y, color=colour, marker=marker, ls=style, ms=3.5, lw=1.4, label=name)
        axes.set(xlabel=xlabel, ylabel=ylabel, xscale="log", yscale="log")
        axes.legend(frameon=False, labelcolor="linecolor", handlelength=1.8)

    return draw_svg(draw, title, salt="curves")


def graphs(lines: Mapping[str, Sequence[tuple[float, float]]], xlabel: str, ylabel: str, title: str) -> str:
    """Points (x, y) of both models as two lines."""
    if not _both_vary(lines):
        return ""

    def draw(axes: Axes) -> None:
        for side, points in lines.items():
            x, y = zip(*sorted(points))
            width = 3.2 if side == "source" else 1.2  # the source thicker beneath, seen where the two agree
            axes.plot(x, y, color=SIDES[side], lw=width, label=side)
        axes.set(xlabel=xlabel, ylabel=ylabel)
        axes.legend(frameon=False, labelcolor="linecolor", handlelength=1.4)

    return draw_svg(draw, title, salt="graphs")


def draw_svg(draw: Any, title: str, salt: str) -> str:
    """Run `draw(axes)` on a fresh figure (no pyplot, no global state) and return SVG that can stand inside HTML."""
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": f"hf_stitch-{salt}"}):
        figure = Figure(figsize=(3.7, 2.5), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        draw(axes)
        for axis in (axes.xaxis, axes.yaxis):
            readable_ticks(axis)
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    return _inline(buffer.getvalue(), title)


def _inline(text: str, title: str) -> str:
    """Strip what only a file of its own needs, shorten numbers, and name the figure for those who cannot see it."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(
        r'\s(?:xmlns(?::\w+)?|version|width|height)="[^"]*"(?=[^<>]*viewBox)|\sxmlns(?::\w+)?="[^"]*"', "", text
    )
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"<[^>]*>", lambda tag: re.sub(r"-?\d+\.\d{3,}", _short, tag[0]), text)  # never the words between
    text = re.sub(
        r'<g id="(?:figure|axes|patch|line2d|text|matplotlib|xtick|ytick|legend|LineCollection)[\w.]*"', "<g", text
    )
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px; font-family: inherit", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    safe = title.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return re.sub(r"\n\s*", "\n", text.replace("<svg", f'<svg role="img" aria-label="{safe}"', 1)).strip()


def _short(found: re.Match[str]) -> str:
    return f"{float(found[0]):.2f}".rstrip("0").rstrip(".")


def _dots(x: Any, y: Any, colour: str) -> PathPatch:
    """Round dots as one path of zero-length strokes: a third of the size of one element for each."""
    vertices = np.repeat(np.column_stack([x, y]), 2, axis=0)
    codes = np.tile([Path.MOVETO, Path.LINETO], len(x))
    return PathPatch(Path(vertices, codes), fc="none", ec=colour, lw=3.2, capstyle="round", alpha=0.8)


def _table(points: Sequence[Sequence[float]]) -> Any:
    """Finite rows of a list of points; anything ragged counts as nothing to draw."""
    rows = [row for row in points if isinstance(row, Sequence) and row and None not in row]
    if not rows or len({len(row) for row in rows}) != 1 or len(rows) != len(points):
        return np.empty((0, 0))
    return np.asarray(rows, dtype=float)


def _both_vary(lines: Mapping[str, Sequence[tuple[float, float]]]) -> bool:
    """Whether points (x, y) of lines lie at several x and several y."""
    points = [point for line in lines.values() for point in line]
    return bool(points) and all(varies(column) for column in zip(*points))


def _whole_numbers(axes: Axes) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
