"""Ridge regression on streamed normal equations, its penalty chosen by leave-one-out."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from hf_stitch.errors import FitError
from hf_stitch.geometry.linalg import eigh

# Candidates of `auto`, relative to the mean variance: from what float64 can hardly tell from 0 to far too much.
RIDGES = tuple(10.0 ** (half / 2) for half in range(-24, 7))

BATCH = 8192  # rows that are copied to float64 at once; by hand


class NormalEquations:
    """Centred second moments of (x, y) pairs in float64, batch by batch, for ridge regression with an intercept.

    Rows are shifted by the first batch's mean before they are summed, so that large offsets cost no digits.
    """

    def __init__(self, features_in: int, features_out: int) -> None:
        self.features_in, self.features_out = features_in, features_out
        self.count = 0
        self._shift: Tensor | None = None
        self._sum: Tensor | None = None
        self._moments: Tensor | None = None

    @classmethod
    def of(cls, x: Tensor, y: Tensor, batch: int = BATCH) -> NormalEquations:
        """Those of all rows x (n, features_in) and y (n, features_out)."""
        return cls(x.shape[1], y.shape[1]).add_all(x, y, batch)

    def add_all(self, x: Tensor, y: Tensor, batch: int = BATCH) -> NormalEquations:
        """Take in many rows, `batch` at a time; returns itself."""
        for begin in range(0, len(x), batch):
            self.add(x[begin : begin + batch], y[begin : begin + batch])
        return self

    def add(self, x: Tensor, y: Tensor) -> None:
        """Take in rows x (b, features_in) and y (b, features_out)."""
        if x.shape != (len(x), self.features_in) or y.shape != (len(x), self.features_out):
            wanted = f"(b, {self.features_in}) and (b, {self.features_out})"
            raise FitError(f"normal equations: expected {wanted}, got {tuple(x.shape)} and {tuple(y.shape)}")
        if not len(x):
            return
        rows = torch.cat([x, y.to(x.device)], dim=1) if x.dtype == y.dtype else torch.cat([x.double(), y.double()], 1)
        rows = rows.detach().double()
        if self._shift is None or self._sum is None or self._moments is None:
            self._shift = rows.mean(0)
            self._sum = torch.zeros_like(self._shift)
            self._moments = torch.zeros(rows.shape[1], rows.shape[1], dtype=rows.dtype, device=rows.device)
        rows = rows - self._shift
        self._sum += rows.sum(0)
        self._moments += rows.T @ rows
        self.count += len(rows)

    def scatter(self) -> Tensor:
        """Centred second moments X^T X (features_in, features_in) of the rows; FitError where there were none."""
        return self._centred()[1][: self.features_in, : self.features_in]

    def _centred(self) -> tuple[Tensor, Tensor]:
        """Mean (features_in + features_out,) and centred second moments of the joined rows."""
        if self._shift is None or self._sum is None or self._moments is None:
            raise FitError("no rows were given to the regression: collect at least two samples")
        mean = self._shift + self._sum / self.count
        return mean, self._moments - torch.outer(self._sum, self._sum) / self.count

    def solve(self, ridge: float | Literal["auto"] = "auto") -> tuple[Tensor, Tensor, float]:
        """Weight (features_in, features_out), bias (features_out,) and the ridge used, in float64.

        Args:
            ridge: penalty on the weights in units of n times the mean variance of the features; `auto` minimises the
                generalised cross-validation score (Golub, Heath & Wahba 1979) over RIDGES.

        Raises:
            FitError: no rows, constant features, or ridge 0 with dependent features.
        """
        mean, moments = self._centred()
        m, n = self.features_in, self.count
        inner, cross, total = moments[:m, :m], moments[:m, m:], moments[m:, m:].diagonal().sum()
        spectrum, vectors = eigh(inner)
        spectrum = spectrum.clamp_min(0)
        unit = spectrum.sum() / m
        if not unit > 1e-24 * n * mean[:m].square().mean():
            raise FitError(f"all {m} source features are constant over {n} rows: take other features or more samples")
        rotated = vectors.T @ cross
        power = rotated.square().sum(1) / unit
        used = _best_ridge(spectrum / unit, power, total, n) if ridge == "auto" else float(ridge)
        if used < 0:
            raise FitError(f"ridge: expected auto or a number >= 0, got {used}")
        if used == 0 and (n <= m or spectrum[0] <= 1e-13 * spectrum[-1]):
            raise FitError(f"ridge 0 needs more than {m} rows and independent features; got {n} rows: use ridge auto")
        weight = vectors @ (rotated / (spectrum + used * unit)[:, None])
        return weight, mean[m:] - mean[:m] @ weight, used


def _best_ridge(spectrum: Tensor, power: Tensor, total: Tensor, n: int) -> float:
    """Candidate of least n RSS / (n - df)^2; `power` is |V^T X^T Y|^2 by direction, both over the mean variance."""
    best, least = RIDGES[-1], float("inf")
    for ridge in RIDGES:
        kept = spectrum / (spectrum + ridge)
        free = float(n - 1 - kept.sum())
        if free < 1e-3 * n:  # as many coefficients as rows: the score would be 0 / 0
            continue
        # RSS = |Y|^2 - sum p (2 / (s + r) - s / (s + r)^2)
        rss = float(total - (power * (spectrum + 2 * ridge) / (spectrum + ridge).square()).sum())
        score = max(rss, 1e-15 * float(total)) / free**2
        if score < least * (1 - 1e-9):
            best, least = ridge, score
    return best
