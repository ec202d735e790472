"""The fit of an interpolator, by name and at any size."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hf_stitch.errors import FitError, nearest
from hf_stitch.geometry.interpolation import thin_plate
from hf_stitch.geometry.interpolation.geometric_harmonics import (
    GeometricHarmonics as GeometricHarmonics,  # registers itself
)
from hf_stitch.geometry.interpolation.interpolator import INTERPOLATORS, Interpolator
from hf_stitch.geometry.interpolation.local_spline import LocalThinPlate
from hf_stitch.geometry.subsets import evenly_spaced, farthest_points

Solve = Callable[[str, Tensor, Tensor, float], Interpolator]
CHECKED = 4000  # by hand: rows at which landmarks are compared with the values of all rows


def fitted(kind: str, points: Tensor, values: Tensor, smoothing: float = 0.0) -> Interpolator:
    """Interpolation `kind` through all points; a thin-plate spline is local where there are many."""
    local = kind == "thin_plate" and len(points) > thin_plate.DENSE_LIMIT
    return (LocalThinPlate if local else interpolator(kind)).fit(points, values, smoothing)


def fit_interpolator(
    kind: str,
    points: Tensor,
    values: Tensor,
    smoothing: float = 0.0,
    landmarks: int | None = None,
    solve: Solve = fitted,
) -> Interpolator:
    """Interpolation `kind` through points (n, m) with values (n, l); a thin-plate spline is local where n is large.

    Args:
        landmarks: keep only so many points, far from each other, as centres. The result's `loss` is then what this
            costs: |prediction - values| / |values - mean| at all rows, 0 for all centres and no smoothing.
        solve: how the interpolation through the centres is found, such as another engine's way.

    Raises:
        FitError: unknown kind, or the interpolation cannot be fitted.
    """
    interpolator(kind)  # an unknown kind is told before any work
    kept = None if landmarks is None or landmarks >= len(points) else farthest_points(points, landmarks)
    centres, wanted = (points, values) if kept is None else (points[kept], values[kept])
    found = solve(kind, centres, wanted, smoothing)
    if kept is not None:
        rows = evenly_spaced(len(points), min(CHECKED, len(points)), torch.float32).to(points.device)
        spread = (values[rows] - values[rows].mean(0)).norm().clamp_min(1e-300)
        found.loss = float((found(points[rows]) - values[rows]).norm() / spread)
    return found


def interpolator(kind: str) -> type[Interpolator]:
    """The class of an interpolation by name; FitError names the nearest known one."""
    if kind not in INTERPOLATORS:
        raise FitError(f"unknown interpolation {kind!r}; {nearest(kind, INTERPOLATORS)}")
    return INTERPOLATORS[kind]
