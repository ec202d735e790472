"""Geometric harmonics: extension of functions by eigenvectors of a Gaussian kernel."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from hf_stitch.errors import FitError
from hf_stitch.geometry.distances import in_blocks, squared_differences, squared_euclidean
from hf_stitch.geometry.interpolation.interpolator import (
    Interpolator,
    merge_duplicates,
)
from hf_stitch.geometry.linalg import eigh

HARMONICS_LIMIT = 6_000  # rows; by hand: all their eigenfunctions take minutes


class GeometricHarmonics(Interpolator):
    """Extension along the well-conditioned eigenfunctions of a Gaussian kernel (Coifman & Lafon 2006).

    The bandwidth is four times the median squared distance to the 10th neighbour; eigenfunctions below CONDITION times
    the largest eigenvalue are left out, and `smoothing` raises that share.
    """

    kind = "harmonics"
    coefficients = ("weights",)
    CONDITION: ClassVar[float] = 1e-12  # by hand: four digits above float64's rounding of the largest eigenvalue
    points: Tensor
    weights: Tensor
    shift: Tensor
    bandwidth: Tensor

    @classmethod
    def fit(cls, points: Tensor, values: Tensor, smoothing: float = 0.0) -> GeometricHarmonics:
        points, values = merge_duplicates(points.double(), values.double())
        bandwidth = cls.bandwidth_of(points)
        squared = squared_differences(points, points)
        spectrum, functions = eigh(torch.exp(-squared / (2 * bandwidth)))
        kept = spectrum > max(cls.CONDITION, smoothing) * spectrum[-1]
        functions = functions[:, kept]
        shift = values.mean(0)
        weights = functions @ ((functions.T @ (values - shift)) / spectrum[kept, None])
        return cls({"points": points, "weights": weights, "shift": shift, "bandwidth": bandwidth})

    @staticmethod
    def bandwidth_of(points: Tensor) -> Tensor:
        """The bandwidth () for distinct points (n, m); FitError for too few or too many."""
        if len(points) < 2:
            raise FitError(f"geometric harmonics need two distinct rows; got {len(points)}: take more samples")
        if len(points) > HARMONICS_LIMIT:
            raise FitError(f"geometric harmonics take at most {HARMONICS_LIMIT} rows, got {len(points)}: set landmarks")
        squared = squared_differences(points, points)
        return 4 * squared.kthvalue(min(11, len(points)), dim=1).values.median()

    def forward(self, rows: Tensor) -> Tensor:
        return in_blocks(self._block, rows.double(), len(self.points))

    def _block(self, rows: Tensor) -> Tensor:
        centre = self.points.mean(0)
        squared = squared_euclidean(rows - centre, self.points - centre).clamp_min(0)
        return torch.exp(-squared / (2 * self.bandwidth)) @ self.weights + self.shift
