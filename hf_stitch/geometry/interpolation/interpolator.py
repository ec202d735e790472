"""Maps between clouds through scattered points: nearest, linear, thin-plate spline, geometric harmonics.

Each is a module whose tensors are its whole state, so a stitching layer can carry it in one safetensors file. All take
rows (b, m) and give (b, l) in float64; all but `nearest` are differentiable. Rows are taken in blocks, so that memory
does not grow with b. (`nystroem.py` needs a kernel, not only
values; `local_spline.py` is for many centres.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from hf_stitch.errors import FitError
from hf_stitch.geometry.distances import nearest_rows

INTERPOLATORS: dict[str, type[Interpolator]] = {}


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


def merge_duplicates(points: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct points (sorted), or the points as they are when all differ, with the mean of their values."""
    unique, place, counts = torch.unique(points, dim=0, return_inverse=True, return_counts=True)
    if len(unique) == len(points) and points.shape[1] > 1:
        return points, values
    sums = torch.zeros(len(unique), values.shape[1], dtype=values.dtype, device=values.device)
    return unique, sums.index_add_(0, place, values) / counts[:, None]
