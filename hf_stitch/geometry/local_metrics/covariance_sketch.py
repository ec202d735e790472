"""Covariances of neighbourhoods as low-rank sketches, updated neighbour by neighbour."""

from __future__ import annotations

import torch
from torch import Tensor

from hf_stitch.errors import ManifoldError
from hf_stitch.geometry.linalg import _principal_rows


class CovarianceSketch:
    """Second moments of deviations, one neighbour of every row at a time, in O(rows * capacity * features) memory.

    Frequent directions: up to 2 * capacity deviations a row are kept as they are, and the spectrum is exact; a full
    buffer is shrunk to its `capacity` strongest directions, each loses the variance of the strongest one left out.
    Traces stay exact. Deviations are from the unperturbed activation, so nothing has to be centred afterwards.

    Attributes:
        count: neighbours taken in; `held` the deviations a row that are kept of them, at most 2 * capacity.
    """

    def __init__(self, rows: int, features: int, capacity: int = 32) -> None:
        if min(rows, features, capacity) < 1:
            raise ManifoldError(f"a sketch needs rows, features and capacity >= 1; got {rows}, {features}, {capacity}")
        self.rows, self.features, self.capacity = rows, features, min(capacity, features)
        self.count = 0
        self.trace = torch.zeros(rows, dtype=torch.float64)
        self._parts: list[Tensor] = []
        self.held = 0

    def add(self, deviations: Tensor) -> None:
        """Take in (rows, features), or (rows, k, features) for k neighbours of every row; float32 or float64."""
        block = deviations[:, None] if deviations.ndim == 2 else deviations
        if block.ndim != 3 or block.shape[0] != self.rows or block.shape[2] != self.features:
            wanted = f"({self.rows}, {self.features}) or ({self.rows}, k, {self.features})"
            raise ManifoldError(f"deviations: expected {wanted}; got {tuple(deviations.shape)}")
        for piece in block.split(self.capacity, dim=1):
            if self.held + piece.shape[1] > 2 * self.capacity:
                self._shrink()
            self._parts.append(piece.detach().clone())
            self.held += piece.shape[1]
        self.trace = self.trace.to(block.device) + block.detach().double().square().sum((1, 2))
        self.count += block.shape[1]

    def spectrum(self) -> tuple[Tensor, Tensor, Tensor]:
        """Directions (rows, k, features), variances (rows, k) descending, traces (rows,); k <= capacity.

        Raises:
            ManifoldError: no neighbour was added.
        """
        if not self.count:
            raise ManifoldError("no neighbours were added: a local metric needs at least one neighbour of every row")
        directions, moments = self._principal()
        keep = min(self.capacity, self.held)
        return directions[:, :keep], moments[:, :keep].to(directions.dtype) / self.count, self.trace / self.count

    def _shrink(self) -> None:
        directions, moments = self._principal()
        kept = self.capacity
        lost = moments[:, kept : kept + 1] if moments.shape[1] > kept else 0.0
        lengths = (moments[:, :kept] - lost).clamp_min(0).sqrt()
        self._parts = [directions[:, :kept] * lengths[..., None].to(directions.dtype)]
        self.held = self._parts[0].shape[1]

    def _principal(self) -> tuple[Tensor, Tensor]:
        """Directions (rows, k, features) and moments (rows, k) of the buffer, descending."""
        buffer = torch.cat(self._parts, dim=1)
        self._parts = [buffer]
        blocks = max(1, (1 << 24) // buffer[0].numel())
        found = [_principal_rows(part) for part in buffer.split(blocks)]
        return torch.cat([part[0] for part in found]), torch.cat([part[1] for part in found])
