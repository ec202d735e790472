"""Thin-plate splines beside SciPy's RBFInterpolator: through all centres, and through the nearest of many."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hf_stitch.geometry.interpolation.interpolator import Interpolator
from hf_stitch.geometry.interpolation.local_spline import LocalThinPlate
from hf_stitch.geometry.interpolation.thin_plate import ThinPlate

from .clock import Row, beside, median_times, told

VALUES, NEW = 32, 1024
GLOBAL, LOCAL = 48, 5  # features
TIMES_MORE = 10  # centres of the local spline


def rows(size: int = 3000, rounds: int = 5) -> Iterator[Row]:
    """Fit, and values at 1,024 new rows; `largest_difference` is that of those values, which are within [-1, 1]."""
    with torch.no_grad():
        yield from _spline("thin-plate spline", ThinPlate, size, GLOBAL, rounds, None)
        many = TIMES_MORE * size
        nearest = LocalThinPlate.fit(*_data(many, LOCAL)[:2]).nearest
        yield from _spline(f"spline through the {nearest} nearest", LocalThinPlate, many, LOCAL, rounds, nearest)


def _data(n: int, m: int) -> tuple[Tensor, Tensor, Tensor]:
    """Centres (n, m) of one standard deviation, their values (n, 32), and new rows."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(n, m, generator=generator, dtype=torch.float64)
    points -= points.mean(0)
    points /= points.square().mean().sqrt()
    values = torch.tanh(points @ torch.randn(m, VALUES, generator=generator, dtype=torch.float64) / m**0.5)
    return points, values, torch.randn(NEW, m, generator=generator, dtype=torch.float64)


def _spline(what: str, kind: type[Interpolator], n: int, m: int, rounds: int, neighbours: int | None) -> Iterator[Row]:
    from scipy.interpolate import RBFInterpolator

    points, values, new = _data(n, m)
    kept: dict[str, Any] = {}

    def fit() -> None:
        kept["ours"] = kind.fit(points, values)

    def their_fit() -> None:
        kept["theirs"] = RBFInterpolator(
            points.numpy(), values.numpy(), kernel="thin_plate_spline", neighbors=neighbours
        )

    fitted = median_times({"ours": fit, "theirs": their_fit}, rounds)
    values_at = {"ours": lambda: kept["ours"](new), "theirs": lambda: kept["theirs"](new.numpy())}
    evaluated = median_times(values_at, rounds)
    gap = float(np.abs(values_at["ours"]().numpy() - values_at["theirs"]()).max())
    size, other = f"n {n}, m {m}, {VALUES} values", "SciPy RBFInterpolator"
    more = {"rounds": rounds, "largest_difference": gap}
    if neighbours is None:  # a local one keeps its centres, and solves when it is asked
        yield beside(f"{what}: fit", size, fitted["ours"], other, fitted["theirs"], **more)
    yield beside(f"{what}: {NEW:,} new rows", size, evaluated["ours"], other, evaluated["theirs"], **more)


if __name__ == "__main__":
    told(rows)
