"""Figures of where a stitched model is to be trusted; see `plots` for what all figures have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from hf_stitch.reporting.plots import LINE, MUTED, SOURCE, TARGET, draw_svg


def risk_coverage(coverage: Sequence[float], risk: Sequence[float], ylabel: str, title: str) -> str:
    """Error of the most trusted share of samples, against that share; the whole's error as a dashed line."""
    if len(coverage) < 2 or len(coverage) != len(risk):
        return ""

    def draw(axes: Axes) -> None:
        axes.axhline(risk[-1], color=MUTED, ls="--", lw=1.0, label="all answered")
        axes.plot(coverage, risk, color=SOURCE, lw=1.6, label="most trusted share", drawstyle="steps-post")
        axes.set(xlabel="share answered", ylabel=ylabel, xlim=(0, 1.01))
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False, labelcolor="linecolor", handlelength=1.6)

    return draw_svg(draw, title, salt="risk")


def error_by_distance(bins: Sequence[Mapping[str, Any]], ylabel: str, title: str) -> str:
    """Mean error with its interval in bins of the distance; a bin is {from, median, to, value, low, high}."""
    known = [one for one in bins if isinstance(one, Mapping) and one.get("value") is not None]
    if len(known) < 2:
        return ""
    place, value, low, high = (
        np.array([one[key] if one.get(key) is not None else one["value"] for one in known], dtype=float)
        for key in ("median", "value", "low", "high")
    )
    wide = bool((value > 0).all() and value.max() > 30 * value.min())
    spread = bool(place[0] > 0 and place[-1] > 10 * place[0])

    def draw(axes: Axes) -> None:
        floor = value.min() / 3 if wide else -np.inf
        axes.vlines(place, np.maximum(low, floor), high, color=LINE, lw=3.0)
        axes.plot(place, value, color=TARGET, marker="o", ms=4.0, lw=1.2)
        axes.set(xlabel="distance from what was fitted", ylabel=ylabel)
        axes.set_xscale("log" if spread else "linear")
        axes.set_yscale("log" if wide else "linear")
        if not wide:
            axes.set_ylim(bottom=0)

    return draw_svg(draw, title, salt="distance")
