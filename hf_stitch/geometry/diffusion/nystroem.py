"""Nystroem extension of a diffusion map to new activations."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from hf_stitch.geometry.distances import nearest_rows, squared_differences
from hf_stitch.geometry.interpolation.interpolator import Interpolator
from hf_stitch.geometry.local_metrics.mahalanobis import projected
from hf_stitch.runtime.sharding import BLOCK


class Nystroem(Interpolator):
    """phi_p(y) = (1 / a_p) sum_j T(y, y_j) phi_p(y_j), with the kernel of the fit.

    One forward pass gives no metric at a new activation: the nearest fitted row's metric stands for it, and that
    row's partners are its partners. Both one-sided distances enter; with one alone the extension of a fitted row would
    not be its own coordinates.

    Where the kernel is sparse only those partners are looked at; memory is bounded by blocks of rows either way.

    Tensors: points (n, m), scale (n,), factors (n, r, m), sign (), log_density (n,), weights (n, l) = phi / a,
    bandwidth (); pointers (n + 1,) and partners (e,) int64, the rows that each row is joined to in CSR form, or absent
    when all pairs are joined.
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
        rows = rows.double()
        near = nearest_rows(rows, self.points)
        n, rank, m = self.factors.shape
        if "pointers" in self._buffers:
            most = int(self.get_buffer("pointers").diff().max())
            block, size = self._sparse, BLOCK // (most * max(rank, 1) * m)
        else:
            block, size = self._dense, BLOCK // (n * max(rank, 1))
        size = max(1, size)
        return torch.cat([block(part, place) for part, place in zip(rows.split(size), near.split(size))])

    def _sparse(self, rows: Tensor, near: Tensor) -> Tensor:
        """(b, l) from the partners of the nearest rows, padded to the most there are."""
        pointers = self.get_buffer("pointers")
        counts = pointers[near + 1] - pointers[near]
        steps = torch.arange(int(counts.max()) if len(counts) else 1, device=rows.device)
        places = pointers[near, None] + torch.minimum(steps, counts[:, None] - 1)
        partners = self.get_buffer("partners")[places]
        steps_to = rows[:, None] - self.points[partners]
        plain = steps_to.square().sum(2)
        inside = torch.einsum("bkm,brm->bkr", steps_to, self.factors[near].double()).square().sum(2)
        theirs = torch.einsum("bkm,bkrm->bkr", steps_to, self.factors[partners].double()).square().sum(2)
        scale = self.scale.double()
        here = plain * scale[near, None] + self.sign * inside
        there = plain * scale[partners] + self.sign * theirs
        logits = self._logits(here, there, self.log_density[partners])
        shares = logits.masked_fill(steps >= counts[:, None], -torch.inf).softmax(1)
        return torch.einsum("bk,bkl->bl", shares, self.weights[partners])

    def _dense(self, rows: Tensor, near: Tensor) -> Tensor:
        shift = self.points.mean(0)
        points, rows = self.points - shift, rows - shift
        scale = self.scale.double()
        plain = squared_differences(rows, points)
        here = plain * scale[near, None] + self.sign * projected(self.factors[near].double(), rows, points)
        there = plain * scale + self.sign * self._theirs(rows, points)
        return self._logits(here, there, self.log_density).softmax(1) @ self.weights

    def _logits(self, here: Tensor, there: Tensor, log_density: Tensor) -> Tensor:
        return -(here.clamp_min(0) + there.clamp_min(0)) / (2 * self.bandwidth) - log_density

    def _theirs(self, rows: Tensor, points: Tensor) -> Tensor:
        """(b, n): |W_j (x_i - y_j)|^2 in the metrics of the fitted rows."""
        n, rank, m = self.factors.shape
        factors = self.factors.double()
        own = torch.einsum("nrm,nm->nr", factors, points)
        images = (rows @ factors.reshape(n * rank, m).T).view(len(rows), n, rank)
        return (images - own).square().sum(2)
