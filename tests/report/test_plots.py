"""Figures: numbers on their axes can be read as they stand, whatever is drawn."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from hf_stitch.report.rendering import plots, plots_trust

RANGES = {
    "near 1": (0.9999999, 1.0),
    "nearer to 1": (1 - 3e-12, 1.0),
    "around 1": (0.999999, 1.0000013),
    "usual": (0.02, 0.97),
    "tiny": (2e-13, 9e-13),
    "small and 0": (0.0, 3.1e-7),
    "large": (3.2e7, 9.1e7),
    "large and near": (123456789.0, 123456790.0),
    "below 0": (-0.0031, -0.0029),
    "both signs": (-2.5e-9, 4e-9),
    "thousands": (-12000.0, 31000.0),
    "far from 0": (1e5, 1e5 + 0.01),
}
NAME = re.compile(r">([^<>]*)</text>")


def numbers(svg: str) -> list[list[float]]:
    """Ticks of both axes: runs of texts that are numbers; an axis ends with its title."""
    found: list[list[float]] = [[]]
    for text in NAME.findall(svg):
        try:
            found[-1].append(float(text.replace("−", "-")))
        except ValueError:
            found.append([])
    return [axis for axis in found if axis]


def drawn(low: float, high: float) -> dict[str, str]:
    line = np.linspace(low, high, 9).tolist()
    bins = [{"median": value, "value": value, "low": value, "high": value} for value in line]
    return {
        "spectra": plots.spectra({"source": line, "target": line[::-1]}, "eigenvalue", "title"),
        "cloud": plots.cloud([[value, value] for value in line], None, "title"),
        "graphs": plots.graphs({"source": [(value, value) for value in line]}, "x", "y", "title"),
        "error by distance": plots_trust.error_by_distance(bins, "error", "title"),
        "condition curve": plots_trust.condition_curve(line, [1.0, *[7.0] * 8], [0] * 9, (low, high), "title"),
    }


@pytest.mark.parametrize(("low", "high"), RANGES.values(), ids=RANGES.keys())
def test_ticks_are_whole_numbers_of_their_own(low: float, high: float) -> None:
    for name, svg in drawn(low, high).items():
        axes = numbers(svg)
        assert len(axes) == 2, f"{name}: a text beside the ticks, such as an offset: {NAME.findall(svg)}"
        assert "mpl" not in svg
        for ticks in axes:
            assert len(ticks) >= 2, name
            assert all(a < b for a, b in pairwise(ticks)), f"{name}: two ticks read alike: {ticks}"
        step = max(high - low, 1e-300)
        if name != "error by distance":
            assert any(low - step <= tick <= high + step for tick in axes[0 if name == "condition curve" else 1]), name


def test_long_numbers_do_not_run_into_each_other() -> None:
    svg = plots.cloud([[0.99999991, 1.0], [0.99999999, 2.0]], None, "title")
    along = [text for text in NAME.findall(svg) if text.startswith(("0.9", "1.0000"))]
    assert 2 <= len(along) <= 4


@pytest.mark.parametrize("high", [1.1, 1.9, 3.0, 12.0, 450.0, 2e9])
def test_logarithmic_axes_have_numbers(high: float) -> None:
    values = np.geomspace(1.0, high, 9).tolist()
    curves = plots.curves({"m": [(value, value) for value in values]}, "pairs", "error", "title")
    shares = plots_trust.condition_shares([*values, high], "title")
    assert [len(axis) >= 2 for axis in numbers(curves)] == [True, True]
    assert len(numbers(shares)[0]) >= 2


Draw = Callable[[], str]
SQUARE = [(0, 1), (0, 1)]
CONSTANT: dict[str, Draw] = {
    "one eigenvalue": lambda: plots.spectra({"source": [0.5], "target": [0.5]}, "y", "t"),
    "eigenvalues all alike": lambda: plots.spectra({"source": [1.0] * 5, "target": [1.0] * 4}, "y", "t"),
    "points all alike": lambda: plots.cloud([[2.0, 1.0]] * 4, None, "t"),
    "one number, all alike": lambda: plots.cloud([[2.0]] * 4, None, "t"),
    "graph of a constant": lambda: plots.graphs({"source": [(0.0, 1.0), (1.0, 1.0)]}, "x", "y", "t"),
    "graph at one input": lambda: plots.graphs({"source": [(0.0, 1.0), (0.0, 2.0)]}, "x", "y", "t"),
    "curve of a constant": lambda: plots.curves({"m": [(1.0, 3.0), (2.0, 3.0)]}, "x", "y", "t"),
    "no risk anywhere": lambda: plots_trust.risk_coverage([0.2, 0.6, 1.0], [0.0, 0.0, 0.0], "y", "t"),
    "no error anywhere": lambda: plots_trust.error_by_distance(
        [{"median": k, "value": 0.0, "low": 0.0, "high": 0.1 * k} for k in range(3)], "y", "t"
    ),
    "one distance": lambda: plots_trust.error_by_distance(
        [{"median": 1.0, "value": 0.1 * k} for k in range(3)], "y", "t"
    ),
    "one condition number": lambda: plots_trust.condition_shares([1.0, 1.0, 1.0], "t"),
    "condition numbers all alike": lambda: plots_trust.condition_curve([0, 1, 2], [1.0] * 3, [0] * 3, (0, 2), "t"),
    "a map of one value": lambda: plots_trust.condition_map([[0, 1], [0, 1]], [1.0] * 4, [0] * 4, SQUARE, "t"),
}


@pytest.mark.parametrize("draw", CONSTANT.values(), ids=CONSTANT.keys())
def test_what_cannot_vary_is_not_drawn(draw: Draw) -> None:
    assert draw() == ""
