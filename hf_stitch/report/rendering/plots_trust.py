"""Figures of where a stitched model is to be trusted; see `plots` for what all figures have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from hf_stitch.report.rendering.plots import INK, LINE, MUTED, RAMP, SOURCE, TARGET, draw_svg
from hf_stitch.report.rendering.variation import varies

Range = tuple[float, float]
STEPS = (1, 2, 5, 10, 30, 100, 1e9)  # colours of condition numbers; by hand, above 100 they count as singular


def risk_coverage(coverage: Sequence[float], risk: Sequence[float], ylabel: str, title: str) -> str:
    """Error of the most trusted share of samples, against that share; the whole's error as a dashed line."""
    if len(coverage) != len(risk) or not varies(risk):
        return ""

    def draw(axes: Axes) -> None:
        axes.axhline(risk[-1], color=MUTED, ls="--", lw=1.0, label="all answered")
        axes.plot(coverage, risk, color=SOURCE, lw=1.6, label="most trusted share", drawstyle="steps-post")
        axes.set(xlabel="share answered", ylabel=ylabel, xlim=(0, 1.01))
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False, labelcolor="linecolor", handlelength=1.6)

    return draw_svg(draw, title, salt="risk")


def error_by_distance(bins: Sequence[Mapping[str, Any]], ylabel: str, title: str) -> str:
    """Mean error with its interval in bins of the distance; a bin is {from, median, to, value, low, high}.

    Bins with a `kind` are of inputs that are not of the test; they are squares of their own.
    """
    known = [one for one in bins if isinstance(one, Mapping) and one.get("value") is not None]
    if len(known) < 2:
        return ""
    place, value, low, high = (
        np.array([one[key] if one.get(key) is not None else one["value"] for one in known], dtype=float)
        for key in ("median", "value", "low", "high")
    )
    if not varies(place) or not varies(value):
        return ""
    odd = np.array([bool(one.get("kind")) for one in known])
    wide = bool((value > 0).all() and value.max() > 30 * value.min())
    spread = bool(place.min() > 0 and place.max() > 10 * place.min())

    def draw(axes: Axes) -> None:
        # An interval may reach 0, which has no place on a logarithmic axis.
        floor = value.min() / 3 if wide else -np.inf
        axes.vlines(place, np.maximum(low, floor), high, color=LINE, lw=3.0)
        axes.plot(place[~odd], value[~odd], color=TARGET, marker="o", ms=4.0, lw=1.2, label="test")
        if odd.any():
            axes.plot(place[odd], value[odd], color=SOURCE, marker="s", ms=4.0, lw=0, label="of another kind")
            axes.legend(frameon=False, labelcolor="linecolor", handlelength=1.2)
        axes.set(xlabel="distance from what was fitted", ylabel=ylabel)
        axes.set_xscale("log" if spread else "linear")
        axes.set_yscale("log" if wide else "linear")
        if not wide:
            axes.set_ylim(bottom=0)

    return draw_svg(draw, title, salt="distance")


def condition_curve(axis: Sequence[float], values: Sequence[float], odd: Sequence[int], fit: Range, title: str) -> str:
    """Condition numbers over one input; the range that was fitted is marked, and so is each end of a singular run."""
    if len(axis) < 2 or not len(axis) == len(values) == len(odd):
        return ""
    if not varies(values) and not varies(odd):
        return ""
    place, high = np.asarray(axis, float), np.asarray(values, float)
    edges = np.flatnonzero(np.diff(np.asarray(odd, dtype=int)))

    def draw(axes: Axes) -> None:
        axes.axvspan(*fit, color=LINE, alpha=0.35, lw=0)
        axes.plot(place, high, color=SOURCE, lw=1.5)
        axes.vlines((place[edges] + place[edges + 1]) / 2, 1, max(high.max(), 10), color=TARGET, ls="--", lw=1.0)
        axes.set(
            xlabel="input (shaded: where it was fitted)",
            ylabel="condition number",
            yscale="log",
            ylim=(0.9, max(1.3 * high.max(), 10)),
        )

    return draw_svg(draw, title, salt="condition")


def condition_shares(values: Sequence[float], title: str) -> str:
    """Share of samples whose condition number is at most so large; above 100 they count as singular."""
    high = np.sort(np.asarray(values, float))
    if not varies(high):
        return ""

    def draw(axes: Axes) -> None:
        axes.axvline(100, color=TARGET, ls="--", lw=1.0)
        axes.plot(high, np.arange(1, len(high) + 1) / len(high), color=SOURCE, lw=1.6, drawstyle="steps-post")
        axes.set(xlabel="condition number", ylabel="share of samples", xscale="log", ylim=(0, 1.02))
        axes.set_xlim(0.9, max(1.3 * high[-1], 150))

    return draw_svg(draw, title, salt="condition-shares")


def condition_map(
    axes_: Sequence[Sequence[float]], values: Sequence[float], odd: Sequence[int], fit: Sequence[Range], title: str
) -> str:
    """Condition numbers over two inputs in steps; the box that was fitted and singular places are outlined."""
    x, y = (np.asarray(one, float) for one in axes_)
    if min(len(x), len(y)) < 2 or not len(values) == len(odd) == len(x) * len(y):
        return ""
    if not varies(values) and not varies(odd):
        return ""
    table = np.clip(np.asarray(values, float), STEPS[0], STEPS[-1] - 1e-9).reshape(len(x), len(y)).T
    places = np.asarray(odd, float).reshape(len(x), len(y)).T

    def draw(axes: Axes) -> None:
        colours = [RAMP(k / (len(STEPS) - 2)) for k in range(len(STEPS) - 1)]
        drawn = axes.contourf(x, y, table, STEPS, colors=colours)
        if places.any() and not places.all():
            axes.contour(x, y, places, [0.5], colors=INK, linewidths=1.2, linestyles="--")
        (low, high), (bottom, top) = fit
        axes.plot([low, high, high, low, low], [bottom, bottom, top, top, bottom], color=INK, lw=1.0)
        axes.set(xlabel="first input", ylabel="second input")
        assert axes.figure is not None
        bar = axes.figure.colorbar(drawn, ax=axes, ticks=STEPS[:-1], spacing="uniform")
        bar.ax.set_yticklabels([f"{step:g}" for step in STEPS[:-1]])
        bar.outline.set_visible(False)

    return draw_svg(draw, title, salt="condition-map")
