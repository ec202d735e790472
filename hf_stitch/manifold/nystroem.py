"""Nystroem extension of a diffusion map to new activations."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from hf_stitch.manifold.interpolation import BLOCK, Interpolator, nearest_rows
from hf_stitch.manifold.mahalanobis import projected


class Nystroem(Interpolator):
    """phi_p(y) = (1 / a_p) sum_j T(y, y_j) phi_p(y_j), with the kernel of the fit.

    One forward pass gives no metric at a new activation: the nearest fitted row's metric stands for it, and that
    row's partners are its partners. Both one-sided distances enter; with one alone the extension of a fitted row would
    not be its own coordinates.

    Tensors: points (n, m), scale (n,), factors (n, r, m), sign (), log_density (n,), weights (n, l) = phi / a,
    bandwidth (), joined (n, n) bool or absent when all pairs are joined.
    """

    kind = "nystroem"
    coefficients: ClassVar[tuple[str, ...]] = ("weights",)
    points: Tensor
    scale: Tensor
    factors: Tensor
    sign: Tensor
    log_density: Tensor
    weights: Tensor
    bandwidth: Tensor

    def forward(self, rows: Tensor) -> Tensor:
        n, rank, _ = self.factors.shape
        size = max(1, BLOCK // (n * max(rank, 1)))
        return torch.cat([self._block(block) for block in rows.double().split(size)])

    def _block(self, rows: Tensor) -> Tensor:
        near = nearest_rows(rows, self.points)
        shift = self.points.mean(0)
        points, rows = self.points - shift, rows - shift
        scale = self.scale.double()
        plain = torch.cdist(rows, points, compute_mode="donot_use_mm_for_euclid_dist").square()
        here = plain * scale[near, None] + self.sign * projected(self.factors[near].double(), rows, points)
        there = plain * scale + self.sign * self._theirs(rows, points)
        logits = -(here.clamp_min(0) + there.clamp_min(0)) / (2 * self.bandwidth) - self.log_density
        joined = getattr(self, "joined", None)
        if joined is not None:
            logits = logits.masked_fill(~joined[near], -torch.inf)
        return logits.softmax(1) @ self.weights

    def _theirs(self, rows: Tensor, points: Tensor) -> Tensor:
        """(b, n): |W_j (x_i - y_j)|^2 in the metrics of the fitted rows."""
        n, rank, m = self.factors.shape
        factors = self.factors.double()
        own = torch.einsum("nrm,nm->nr", factors, points)
        images = (rows @ factors.reshape(n * rank, m).T).view(len(rows), n, rank)
        return (images - own).square().sum(2)
