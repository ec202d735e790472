"""Thin-plate splines in any dimension."""

from __future__ import annotations

import torch
from torch import Tensor

from hf_stitch.errors import FitError
from hf_stitch.geometry.distances import in_blocks, squared_euclidean
from hf_stitch.geometry.interpolation.interpolator import (
    Interpolator,
    merge_duplicates,
)

DENSE_LIMIT = 16_000  # centres; the dense solve needs about 24 bytes a pair, here 6 GB


class ThinPlate(Interpolator):
    """Thin-plate spline r^2 log r with a polynomial of degree 1 and smoothing on the diagonal.

    Points are centred and divided by one standard deviation of all their entries; smoothing is in those units. Equal to
    SciPy's RBFInterpolator(kernel="thin_plate_spline", smoothing=...) on the points so scaled. Float64 throughout:
    condition numbers reach 1e11.
    """

    kind = "thin_plate"
    coefficients = ("weights", "polynomial")
    centres: Tensor
    weights: Tensor
    polynomial: Tensor
    shift: Tensor
    scale: Tensor

    @classmethod
    def fit(cls, points: Tensor, values: Tensor, smoothing: float = 0.0) -> ThinPlate:
        """Solve for n centres (n, m) with n >= m + 1; identical centres are averaged when smoothing is 0.

        Raises:
            FitError: too few or too many centres, no spread, or centres too close for the solve.
        """
        centres, values, shift, scale = cls.scaled(points, values, smoothing)
        if len(centres) > DENSE_LIMIT:
            raise FitError(f"a thin-plate spline takes at most {DENSE_LIMIT} rows, got {len(centres)}: set landmarks")
        weights, polynomial = _solve_thin_plate(centres, values, float(smoothing))
        return cls({"centres": centres, "weights": weights, "polynomial": polynomial, "shift": shift, "scale": scale})

    @staticmethod
    def scaled(points: Tensor, values: Tensor, smoothing: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Centres (n, m) in units of one standard deviation, their values (n, l), shift (m,) and scale ()."""
        points, values = points.double(), values.double()
        if not smoothing:
            points, values = merge_duplicates(points, values)
        n, m = points.shape
        if n < m + 1:
            raise FitError(
                f"a thin-plate spline in {m} features needs at least {m + 1} distinct rows; got {n}: "
                "take more samples, fewer features, or method affine"
            )
        shift = points.mean(0)
        scale = (points - shift).square().mean().sqrt()
        if not scale > 0:
            raise FitError(f"all {n} rows are identical: a spline needs features that differ between samples")
        return (points - shift) / scale, values, shift, scale

    def forward(self, rows: Tensor) -> Tensor:
        return in_blocks(self._block, rows.double(), len(self.centres))

    def _block(self, rows: Tensor) -> Tensor:
        scaled = (rows - self.shift) / self.scale
        kernel = thin_plate_kernel(squared_euclidean(scaled, self.centres))
        return kernel @ self.weights + torch.addmm(self.polynomial[0], scaled, self.polynomial[1:])


def thin_plate_kernel(squared: Tensor) -> Tensor:
    # The floor keeps the logarithm and its gradient finite at a centre, where the kernel is 0 to rounding.
    safe = squared.clamp_min(1e-30)
    if safe.requires_grad:
        return safe.log().mul(safe).mul(0.5)
    return safe.log().mul_(safe).mul_(0.5)


def _solve_thin_plate(centres: Tensor, values: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """Weights (n, l), orthogonal to linear polynomials, and polynomial (m + 1, l).

    With U an orthonormal basis of the polynomials at the centres and S = I - U U^T, the matrix S K S + t U U^T is
    positive definite (the kernel is conditionally positive definite of order 2): one Cholesky factorisation.
    """
    ones = torch.ones_like(centres[:, :1])
    basis, sizes, right = torch.linalg.svd(torch.cat([ones, centres], 1), full_matrices=False)
    kept = sizes > 1e-10 * sizes[0]  # constant or dependent features have no slope of their own
    basis, sizes, right = basis[:, kept], sizes[kept], right[kept]
    kernel = thin_plate_kernel(squared_euclidean(centres, centres))
    kernel.fill_diagonal_(smoothing)  # symmetric but for rounding; the factorisation reads one half
    half = kernel @ basis
    inner = basis.T @ half
    inner.diagonal().add_(kernel.abs().mean() * len(centres))  # the eigenvalue given to the polynomials' own space
    cross = half - 0.5 * basis @ inner
    projected = torch.addmm(kernel, torch.cat([basis, cross], 1), torch.cat([cross, basis], 1).T, alpha=-1)
    factor, failed = torch.linalg.cholesky_ex(projected)
    if failed:
        raise FitError("thin-plate spline: some rows are too close to each other; set smoothing above 0, such as 1e-6")

    def solve(wanted: Tensor) -> Tensor:
        found = torch.cholesky_solve(wanted - basis @ (basis.T @ wanted), factor)
        return found - basis @ (basis.T @ found)

    weights = solve(values)
    weights = weights + solve(values - kernel @ weights)  # one refinement step
    slopes = right.T @ ((basis.T @ (values - kernel @ weights)) / sizes[:, None])
    return weights, slopes
