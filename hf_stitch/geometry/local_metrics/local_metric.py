"""Local metrics from neighbourhoods or Jacobians, and the intrinsic dimension they show.

Sources: Singer & Coifman (2008) and Bertalan et al. (2021), Algorithm 1 step 1, for the inverse covariance as metric;
Ghashami et al. (2016), frequent directions, for the bounded-memory covariance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from hf_stitch.errors import ManifoldError
from hf_stitch.geometry.linalg import NOISE, _principal_rows
from hf_stitch.geometry.local_metrics.dimension import intrinsic_dimension


@dataclass(frozen=True)
class LocalMetric:
    """One positive semidefinite form a row: d^2(D) = scale |D|^2 + sign |factors D|^2.

    Attributes:
        scale: (n,) float; 0 for a truncated pseudo-inverse.
        factors: (n, r, m) float.
        sign: -1 for the regularised inverse (C + eta tr(C)/m I)^-1 by the Woodbury identity, +1 for the
            pseudo-inverse.
        width: standard deviation of the neighbourhoods in input units; makes spectra those of the input space.
        dimension: median, 10th and 90th percentile of the intrinsic dimension seen in the spectra, if known.
    """

    scale: Tensor
    factors: Tensor
    sign: Literal[-1, 1]
    width: float = 1.0
    dimension: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        if self.factors.ndim != 3 or self.scale.shape != self.factors.shape[:1] or self.sign not in (-1, 1):
            shapes = f"{tuple(self.scale.shape)}, {tuple(self.factors.shape)}, {self.sign}"
            raise ManifoldError(f"a local metric takes scale (n,), factors (n, r, m) and sign -1 or 1; got {shapes}")

    def __len__(self) -> int:
        return len(self.scale)

    @property
    def features(self) -> int:
        return self.factors.shape[2]

    @property
    def rank(self) -> int:
        """Number of factors; a regularised metric has full rank all the same."""
        return self.factors.shape[1]

    def take(self, index: Tensor | slice) -> LocalMetric:
        """Rows by number, in the order of `index`."""
        return replace(self, scale=self.scale[index], factors=self.factors[index])

    def to(self, device: torch.device) -> LocalMetric:
        """The same metrics on a device."""
        return replace(self, scale=self.scale.to(device), factors=self.factors.to(device))

    def distances(self, index: Tensor, differences: Tensor) -> Tensor:
        """One-sided squared lengths (b, k) of differences (b, k, m) in the metrics of the rows `index` (b,)."""
        factors = self.factors[index].to(differences.dtype)
        images = differences @ factors.mT
        inside = torch.linalg.vecdot(images, images)
        scale = self.scale[index].to(differences.dtype)
        if scale.any():
            inside = torch.addcmul(self.sign * inside, scale[:, None], torch.linalg.vecdot(differences, differences))
        return inside.clamp_min(0)

    @classmethod
    def euclidean(cls, rows: int, features: int, dtype: torch.dtype = torch.float64) -> LocalMetric:
        """The metric of `neighborhoods: none`: plain Euclidean distances."""
        return cls(torch.ones(rows, dtype=dtype), torch.zeros(rows, 0, features, dtype=dtype), 1)

    @classmethod
    def concatenate(cls, metrics: Sequence[LocalMetric]) -> LocalMetric:
        """Metrics of consecutive rows; ranks may differ, the shorter ones get zero factors.

        Raises:
            ManifoldError: none given, or regularised and truncated ones mixed.
        """
        if not metrics or len({(metric.sign, metric.width, metric.features) for metric in metrics}) != 1:
            raise ManifoldError("metrics to join must be of one kind, width and number of features, and at least one")
        rank = max(metric.rank for metric in metrics)
        padded = [torch.nn.functional.pad(metric.factors, (0, 0, 0, rank - metric.rank)) for metric in metrics]
        scale = torch.cat([metric.scale for metric in metrics])
        return replace(metrics[0], scale=scale, factors=torch.cat(padded))

    @classmethod
    def from_spectrum(
        cls,
        directions: Tensor,
        variances: Tensor,
        total: Tensor,
        eta: float | None = None,
        rank: int | Literal["auto"] = "auto",
        width: float = 1.0,
    ) -> LocalMetric:
        """Inverse local covariances from their principal directions.

        Args:
            directions: (n, k, m) orthonormal rows (rows of zero variance may be anything).
            variances: (n, k) descending.
            total: (n,) traces of the covariances; may exceed the sum of `variances`.
            eta: given: (C + eta tr(C)/m I)^-1 with all k directions, or the first `rank`; absent: pseudo-inverse of
                rank `rank`.
            rank: `auto` is the intrinsic dimension for the pseudo-inverse and k for the regularised inverse.
            width: standard deviation of the neighbourhoods in input units.

        Raises:
            ManifoldError: a neighbourhood without variance, NaN, or shapes that do not fit.
        """
        n, k, m = directions.shape
        _check_spectrum(directions, variances, total)
        dimension = intrinsic_dimension(variances)
        kept = (k if eta is not None else round(dimension[0])) if rank == "auto" else min(int(rank), k)
        if kept < 1:
            raise ManifoldError(f"rank of the local metrics: expected auto or a number from 1 to {k}; got {rank}")
        directions, spread = directions[:, :kept], variances[:, :kept].double()
        real = spread > NOISE * variances[:, :1].double()
        if eta is not None:
            floor = eta * total.double()[:, None] / m
            weights, scale = spread / ((spread + floor) * floor), 1 / floor[:, 0]
        else:
            weights, scale = 1 / spread.where(real, 1.0), torch.zeros(n, dtype=torch.float64, device=total.device)
        factors = directions * weights.where(real, 0.0).sqrt()[..., None].to(directions.dtype)
        return cls(scale.to(directions.dtype), factors, 1 if eta is None else -1, width, dimension)

    @classmethod
    def from_jacobian(cls, jacobian: Tensor, width: float = 1.0, eta: float | None = None) -> LocalMetric:
        """Metric of C = width^2 J J^T from Jacobians input -> features (n, m, d); Bertalan et al. section 4.3."""
        if jacobian.ndim != 3:
            raise ManifoldError(f"Jacobians: expected (n, features, inputs), got {tuple(jacobian.shape)}")
        directions, moments = _principal_rows(jacobian.detach().double().mT)
        variances = width**2 * moments
        return cls.from_spectrum(directions, variances, variances.sum(-1), eta, variances.shape[1], width)


def _check_spectrum(directions: Tensor, variances: Tensor, total: Tensor) -> None:
    n, k, _ = directions.shape
    if variances.shape != (n, k) or total.shape != (n,) or k == 0 or n == 0:
        shapes = ", ".join(str(tuple(part.shape)) for part in (directions, variances, total))
        raise ManifoldError(f"expected directions (n, k, m), variances (n, k) and traces (n,); got {shapes}")
    if not (directions.isfinite().all() and variances.isfinite().all() and total.isfinite().all()):
        raise ManifoldError("local covariances hold NaN or infinite numbers: check the activations of the neighbours")
    flat = (variances[:, 0] <= 0) | (total <= 0)
    if flat.any():
        raise ManifoldError(
            f"{int(flat.sum())} of {n} neighbourhoods have no variance (first: row {int(flat.nonzero()[0])}): "
            "take at least two neighbours, a larger delta, or features that respond to the input"
        )
