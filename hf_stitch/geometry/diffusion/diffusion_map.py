"""The Mahalanobis diffusion map: Bertalan et al. (2021), Algorithm 1, with the normalisation of Berry et al. (2013)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sparse
import torch
from torch import Tensor

from hf_stitch.errors import FitError, ManifoldError
from hf_stitch.geometry.diffusion.engine import TORCH, Engine
from hf_stitch.geometry.diffusion.kernel import Kernel, SparseKernel, gaussian
from hf_stitch.geometry.diffusion.nystroem import Nystroem
from hf_stitch.geometry.interpolation.fit_interpolator import fit_interpolator
from hf_stitch.geometry.interpolation.interpolator import Interpolator
from hf_stitch.geometry.local_metrics.local_metric import LocalMetric
from hf_stitch.geometry.local_metrics.mahalanobis import check_cloud
from hf_stitch.geometry.neighbours.graphs import near_order
from hf_stitch.geometry.neighbours.neighbour_rules import ALL_ROWS, DENSE_ROWS, NEIGHBOUR, Pairs, Rule, find_pairs
from hf_stitch.runtime.sharding import ALONE, Rows

SMALLEST = 1e-6  # by hand: Nystroem divides by the eigenvalues; below this nothing of a coordinate is left


class PiecesError(ManifoldError):
    """A cloud that falls into `pieces`, so that no coordinates are common to all of it."""

    def __init__(self, message: str, pieces: int) -> None:
        super().__init__(message)
        self.pieces = pieces


@dataclass(frozen=True)
class DiffusionMap:
    """A fitted map; the constant first coordinate is 1 and left out everywhere.

    Attributes:
        points: (n, m) float64.
        metric: their local metrics.
        bandwidth: eps in exp(-d2 / (2 eps)).
        spectrum: (l,) float64, eigenvalues a_p of the Markov matrix, descending.
        coordinates: (n, l) float64, mean square 1 in the stationary distribution (the scale in which phi_0 = 1).
        log_density: (n,) float64, logarithm of the kernel's row sums.
        joined: (n, n) bool, pairs that the kernel joins, or None for all pairs.
        solver: `dense`, `lanczos`, `shift-invert` or `lobpcg`, or the name of another engine.
        rounds: rounds in which `grown` neighbours settled.
        engine: what found the eigenpairs and solves the interpolations.
    """

    points: Tensor
    metric: LocalMetric
    bandwidth: float
    spectrum: Tensor
    coordinates: Tensor
    log_density: Tensor
    joined: sparse.csr_matrix | None
    solver: str
    rounds: int = 0
    engine: Engine = TORCH

    @property
    def eigenvalues(self) -> Tensor:
        """a_p^(1 / (2 eps)), as in Algorithm 1 step 3 (d)."""
        return (self.spectrum.clamp_min(1e-300).log() / (2 * self.bandwidth)).exp()

    @property
    def laplace(self) -> Tensor:
        """-8 ln(eigenvalue) / s^2: eigenvalues of the Laplacian in input units, comparable between maps.

        s is the width of the neighbourhoods. Between maps of one rule of neighbours, that is: `grown` leaves far pairs
        out, and all values are lower then by one factor, about a half in two dimensions, than those of `all`.
        Eigenvalues a_p at or below rounding give a large finite number.
        """
        return -4 * self.spectrum.clamp_min(1e-16).log() / (self.bandwidth * self.metric.width**2)

    @classmethod
    def fit(
        cls,
        points: Tensor,
        metric: LocalMetric,
        coordinates: int,
        neighbours: Rule = "grown",
        bandwidth: float | None = None,
        rows: Rows = ALONE,
        engine: Engine = TORCH,
        table_rows: int = DENSE_ROWS,
    ) -> DiffusionMap:
        """Diffusion map of points (n, m) with `coordinates` eigenpairs after the constant one.

        Args:
            neighbours: which pairs the kernel joins (see `neighbours.py`): grown, all, or a number of Euclidean ones.
            bandwidth: eps; absent: the median squared distance to the 10th neighbour.
            rows: how the rows are shared out over processes, and on which device; all get the same map.
            engine: what solves the eigenproblem of the kernel; see `engine.py`.
            table_rows: see `find_pairs`.

        Raises:
            ManifoldError: NaN, fewer than three rows, more than n - 1 coordinates, more than half of the rows
                duplicated. PiecesError: a cloud in several pieces.
        """
        cloud = check_cloud(points, metric)
        n = len(cloud)
        if not 1 <= coordinates <= n - 1:
            raise ManifoldError(
                f"{n} rows have 1 to {n - 1} coordinates; got {coordinates}: ask for fewer or add samples"
            )
        order = near_order(cloud)
        index = torch.from_numpy(order).to(cloud.device)
        pairs = find_pairs(cloud[index], metric.take(index), neighbours, rows, table_rows)
        width = _bandwidth(pairs, bandwidth, n)
        kernel = gaussian(pairs, width)
        _check_connected(kernel, neighbours, width)
        solved = engine.eigenpairs(kernel, coordinates)

        def tensor(array: np.ndarray) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(array)).to(cloud.device)

        back = np.argsort(order)
        joined = (kernel.matrix > 0)[back][:, back] if isinstance(kernel, SparseKernel) else None
        parts = tensor(solved.spectrum), tensor(solved.coordinates[back]), tensor(np.log(solved.density[back]))
        return cls(cloud, metric, width, *parts, joined, solved.solver, pairs.rounds, engine)

    def take(self, columns: Tensor) -> DiffusionMap:
        """The map with only some of its coordinates, such as those that are no harmonics."""
        return replace(self, spectrum=self.spectrum[columns], coordinates=self.coordinates[:, columns])

    def extension(self, kind: str = "thin_plate", smoothing: float = 0.0, landmarks: int | None = None) -> Interpolator:
        """A module (b, m) -> (b, l) that gives coordinates of new activations; `landmarks`: see `fit_interpolator`.

        Raises:
            ManifoldError: `nystroem` with eigenvalues that are nothing but rounding.
            FitError: the interpolation cannot be fitted, or is `nystroem` with landmarks.
        """
        if kind != "nystroem":
            return fit_interpolator(kind, self.points, self.coordinates, smoothing, landmarks, self.engine.interpolator)
        if landmarks is not None:
            raise FitError(
                "nystroem needs the kernel of all rows: leave landmarks out, or use interpolation thin_plate"
            )
        if self.spectrum.min() < SMALLEST:
            good = int((self.spectrum >= SMALLEST).sum())
            raise ManifoldError(
                f"nystroem divides by the eigenvalues, and only {good} of {len(self.spectrum)} are above {SMALLEST}: "
                f"ask for {good} coordinates, or interpolation thin_plate"
            )
        tensors = {
            "points": self.points,
            "scale": self.metric.scale,
            "factors": self.metric.factors,
            "sign": torch.tensor(self.metric.sign, device=self.points.device),
            "log_density": self.log_density,
            "weights": self.coordinates / self.spectrum,
            "bandwidth": torch.tensor(self.bandwidth, dtype=torch.float64, device=self.points.device),
        }
        if self.joined is not None:
            joined = {"pointers": self.joined.indptr, "partners": self.joined.indices}
            tensors |= {name: torch.from_numpy(part).long().to(self.points.device) for name, part in joined.items()}
        return Nystroem(tensors)

    def extend(self, rows: Tensor, kind: str = "thin_plate", smoothing: float = 0.0) -> Tensor:
        """Coordinates (b, l) of activations (b, m); `extend(points)` equals `coordinates` when smoothing is 0."""
        if rows.shape[-1] != self.points.shape[1]:
            raise FitError(f"the map takes {self.points.shape[1]} features; got {rows.shape[-1]}")
        with torch.no_grad():
            return self.extension(kind, smoothing)(rows)


def _bandwidth(pairs: Pairs, given: float | None, n: int) -> float:
    if given is not None:
        if not given > 0:
            raise ManifoldError(f"bandwidth: expected a number above 0, got {given}")
        return float(given)
    near = pairs.nearest(min(NEIGHBOUR, n - 1))
    lonely = np.isnan(near)
    found = float(np.median(near[~lonely])) if not lonely.all() else 0.0
    if not found > 0:
        share = int((near == 0).sum())
        raise ManifoldError(
            f"{share} of {n} rows have {min(NEIGHBOUR, n - 1)} partners at distance 0, so the cloud is a set of "
            "repeated points (such as word embeddings) and not a manifold: use sides: source for such a "
            "target, keep one row of each, or set a bandwidth"
        )
    return found


def _check_connected(kernel: Kernel, neighbours: Rule, bandwidth: float) -> None:
    pieces = kernel.components()
    if pieces > 1:
        more = f"a larger bandwidth than {bandwidth:.3g}"
        if neighbours != "all":
            more = ("neighbours: all, " if kernel.shape[0] <= ALL_ROWS else "") + f"more neighbours, {more}"
        raise PiecesError(
            f"the cloud of {kernel.shape[0]} rows falls into {pieces} pieces that no neighbours join, so it has no "
            f"common coordinates: use {more}, or more samples",
            pieces,
        )
