"""Maps between clouds through scattered points: nearest, linear, thin-plate spline, geometric harmonics.

Each is a module whose tensors are its whole state, so a stitching layer can carry it in one safetensors file. All take
rows (b, m) and give (b, l) in float64; all but `nearest` are differentiable. Rows are taken in blocks, so that memory
does not grow with b. (`nystroem.py` needs a kernel, not only
values; `local_spline.py` is for many centres.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from hf_stitch.errors import FitError, nearest
from hf_stitch.manifold.linalg import eigh

BLOCK = 1 << 22  # entries of one block of pairwise numbers (32 MB in float64)
INTERPOLATORS: dict[str, type[Interpolator]] = {}
DENSE_LIMIT = 16_000  # centres; the dense solve needs about 24 bytes a pair
HARMONICS_LIMIT = 6_000  # rows; all their eigenfunctions take minutes


def in_blocks(function: Callable[[Tensor], Tensor], rows: Tensor, width: int) -> Tensor:
    """Apply `function` to blocks of rows such that a block has about BLOCK / width rows."""
    size = max(1, BLOCK // max(width, 1))
    if len(rows) <= size:
        return function(rows)
    return torch.cat([function(block) for block in rows.split(size)])


def squared_euclidean(rows: Tensor, points: Tensor) -> Tensor:
    """(b, n) squared distances by one matrix product; exact to rounding of |point|^2, never negative."""
    inner = torch.addmm(points.square().sum(1), rows, points.T, alpha=-2)
    lengths = rows.square().sum(1, keepdim=True)
    return inner + lengths if inner.requires_grad else inner.add_(lengths)


def nearest_rows(rows: Tensor, points: Tensor) -> Tensor:
    """(b,) number of the nearest point of each row; the first of equally near ones."""
    shift = points.mean(0)
    centred = points - shift
    with torch.no_grad():
        return in_blocks(lambda block: squared_euclidean(block - shift, centred).argmin(1), rows, len(points))


class Interpolator(nn.Module):
    """Base: registers its tensors, the fitted coefficients as frozen parameters and the clouds as buffers."""

    kind: ClassVar[str] = ""
    coefficients: ClassVar[tuple[str, ...]] = ()
    loss: float | None = None  # what keeping only landmarks cost; see `fit_interpolator`

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        INTERPOLATORS[cls.kind] = cls

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            if name in self.coefficients:
                self.register_parameter(name, nn.Parameter(tensor, requires_grad=False))
            else:
                self.register_buffer(name, tensor)

    @classmethod
    def fit(cls, points: Tensor, values: Tensor, smoothing: float = 0.0) -> Interpolator:
        """Interpolator through points (n, m) with values (n, l)."""
        raise NotImplementedError


class Nearest(Interpolator):
    """The value of the nearest point: Algorithm 1's own choice. Gradients are zero."""

    kind = "nearest"
    points: Tensor
    values: Tensor

    @classmethod
    def fit(cls, points: Tensor, values: Tensor, smoothing: float = 0.0) -> Nearest:
        return cls({"points": points.double(), "values": values.double()})

    def forward(self, rows: Tensor) -> Tensor:
        return self.values[nearest_rows(rows.double(), self.points)]


class Linear(Interpolator):
    """Piecewise linear in one variable (Bertalan et al., fig. 4c); end segments are extended."""

    kind = "linear"
    knots: Tensor
    values: Tensor

    @classmethod
    def fit(cls, points: Tensor, values: Tensor, smoothing: float = 0.0) -> Linear:
        if points.shape[1] != 1:
            raise FitError(
                f"linear interpolation takes one column, got {points.shape[1]}: use one coordinate, or thin_plate"
            )
        knots, merged = merge_duplicates(points.double(), values.double())
        if len(knots) < 2:
            raise FitError("linear interpolation needs two distinct points, got one: take more samples")
        return cls({"knots": knots[:, 0].contiguous(), "values": merged})

    def forward(self, rows: Tensor) -> Tensor:
        place = rows.double()[:, 0]
        right = torch.searchsorted(self.knots, place.detach().contiguous()).clamp(1, len(self.knots) - 1)
        low, high = self.knots[right - 1], self.knots[right]
        share = ((place - low) / (high - low))[:, None]
        return self.values[right - 1] * (1 - share) + self.values[right] * share


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


class GeometricHarmonics(Interpolator):
    """Extension along the well-conditioned eigenfunctions of a Gaussian kernel (Coifman & Lafon 2006).

    The bandwidth is four times the median squared distance to the 10th neighbour; eigenfunctions below CONDITION times
    the largest eigenvalue are left out, and `smoothing` raises that share.
    """

    kind = "harmonics"
    coefficients = ("weights",)
    CONDITION: ClassVar[float] = 1e-12
    points: Tensor
    weights: Tensor
    shift: Tensor
    bandwidth: Tensor

    @classmethod
    def fit(cls, points: Tensor, values: Tensor, smoothing: float = 0.0) -> GeometricHarmonics:
        points, values = merge_duplicates(points.double(), values.double())
        bandwidth = cls.bandwidth_of(points)
        squared = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist").square()
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
        squared = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist").square()
        return 4 * squared.kthvalue(min(11, len(points)), dim=1).values.median()

    def forward(self, rows: Tensor) -> Tensor:
        return in_blocks(self._block, rows.double(), len(self.points))

    def _block(self, rows: Tensor) -> Tensor:
        centre = self.points.mean(0)
        squared = squared_euclidean(rows - centre, self.points - centre).clamp_min(0)
        return torch.exp(-squared / (2 * self.bandwidth)) @ self.weights + self.shift


def merge_duplicates(points: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct points (sorted), or the points as they are when all differ, with the mean of their values."""
    unique, place, counts = torch.unique(points, dim=0, return_inverse=True, return_counts=True)
    if len(unique) == len(points) and points.shape[1] > 1:
        return points, values
    sums = torch.zeros(len(unique), values.shape[1], dtype=values.dtype, device=values.device)
    return unique, sums.index_add_(0, place, values) / counts[:, None]


def interpolator(kind: str) -> type[Interpolator]:
    """The class of an interpolation by name; FitError names the nearest known one."""
    if kind not in INTERPOLATORS:
        raise FitError(f"unknown interpolation {kind!r}; {nearest(kind, INTERPOLATORS)}")
    return INTERPOLATORS[kind]
