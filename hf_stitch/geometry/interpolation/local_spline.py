"""Thin-plate splines through the nearest centres only, and the fit of any interpolation at any size."""

from __future__ import annotations

import torch
from torch import Tensor

from hf_stitch.errors import FitError
from hf_stitch.geometry.distances import in_blocks
from hf_stitch.geometry.interpolation import thin_plate
from hf_stitch.geometry.interpolation.interpolator import Interpolator, merge_duplicates
from hf_stitch.geometry.interpolation.thin_plate import thin_plate_kernel
from hf_stitch.geometry.linalg import eigh

# By hand. A row takes its own dense solve, of cubic cost in the centres: at 256 features in 514 of them.
NEAREST = 50  # centres of a local spline, or twice what a linear function needs
FEATURES = 256  # above, a local spline needs too many centres to be solved anew for every row
# Spread of the centres in a direction, as a share of the largest, below which it gets no slope: across a thin sheet a
# slope says nothing, and a row that lies a little off the sheet would be thrown far away. By hand.
FLAT = 0.05


class LocalThinPlate(Interpolator):
    """The spline of `ThinPlate` through the k nearest centres of each row, solved anew for every row.

    As SciPy's RBFInterpolator(neighbors=k), and like it discontinuous where the nearest centres change. Smoothing is
    in the units of the global one. Memory and time to fit are those of the centres alone.

    Tensors: centres (n, m), values (n, l), shift (m,), scale (), smoothing ().
    """

    kind = "local_thin_plate"
    centres: Tensor
    values: Tensor
    shift: Tensor
    scale: Tensor
    smoothing: Tensor

    @classmethod
    def fit(cls, points: Tensor, values: Tensor, smoothing: float = 0.0) -> LocalThinPlate:
        """Keep the centres; identical ones are averaged when smoothing is 0.

        Raises:
            FitError: too few centres, no spread, more than 256 features.
        """
        points, values = points.double(), values.double()
        if not smoothing:
            points, values = merge_duplicates(points, values)
        n, m = points.shape
        if m > FEATURES or n < m + 1:
            raise FitError(
                f"a local thin-plate spline takes {m + 1} or more rows of at most {FEATURES} features; got {n} of {m}: "
                f"set landmarks to at most {thin_plate.DENSE_LIMIT}, or select fewer features"
            )
        shift = points.mean(0)
        scale = (points - shift).square().mean().sqrt()
        if not scale > 0:
            raise FitError(f"all {n} rows are identical: a spline needs features that differ between samples")
        amount = torch.tensor(float(smoothing), dtype=torch.float64, device=points.device)
        tensors = {"centres": (points - shift) / scale, "values": values, "shift": shift, "scale": scale}
        return cls(tensors | {"smoothing": amount})

    @property
    def nearest(self) -> int:
        """Number of centres that a row is predicted from."""
        n, m = self.centres.shape
        return min(n, max(NEAREST, 2 * (m + 1)))

    def forward(self, rows: Tensor) -> Tensor:
        n, m = self.centres.shape
        width = max(n, 4 * (self.nearest + m + 1) ** 2, self.nearest * self.values.shape[1])
        return in_blocks(self._block, rows.double(), width)

    def _block(self, rows: Tensor) -> Tensor:
        scaled = (rows - self.shift) / self.scale
        with torch.no_grad():
            ranks = torch.addmm(self.centres.square().sum(1), scaled, self.centres.T, alpha=-2)  # less |row|^2
            near = ranks.topk(self.nearest, largest=False).indices
        centres = self.centres[near]
        middle = centres.mean(1, keepdim=True)
        size = (centres - middle).square().sum((1, 2), keepdim=True).div(self.nearest).sqrt().clamp_min(1e-150)
        centres, place = (centres - middle) / size, (scaled[:, None] - middle) / size
        moments, axes = eigh(centres.mT @ centres / self.nearest)
        flat = moments <= FLAT**2 * moments[:, -1:]
        slopes = axes * torch.where(flat, 0.0, moments.where(~flat, 1.0).rsqrt())[:, None]
        system = self._system(centres, slopes, flat, size)
        ones = torch.ones_like(place[..., :1])
        lengths = (place - centres).square().sum(2)[:, None]
        there = torch.cat([thin_plate_kernel(lengths), ones, place @ slopes], 2)
        # The system is symmetric: one right side a row, however many values there are.
        weights = torch.linalg.solve(system, there[:, 0])[:, : self.nearest]
        return torch.einsum("bk,bkl->bl", weights, self.values[near])

    def _system(self, centres: Tensor, slopes: Tensor, flat: Tensor, size: Tensor) -> Tensor:
        """(b, k + m + 1, k + m + 1): kernel with smoothing on the diagonal, bordered by the linear polynomials."""
        b, k, m = centres.shape
        border = torch.cat([torch.ones_like(centres[..., :1]), centres @ slopes], 2)
        system = centres.new_zeros(b, k + m + 1, k + m + 1)
        lengths = torch.cdist(centres, centres, compute_mode="donot_use_mm_for_euclid_dist").square_()
        system[:, :k, :k] = thin_plate_kernel(lengths)
        system[:, :k, :k].diagonal(dim1=1, dim2=2).copy_((self.smoothing / size.square())[:, :, 0].expand(b, k))
        system[:, :k, k:], system[:, k:, :k] = border, border.mT
        system[:, k + 1 :, k + 1 :].diagonal(dim1=1, dim2=2).copy_(flat.to(system))
        return system
