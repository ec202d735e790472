"""Which coordinates say something new, and which are functions of earlier ones (Dsilva et al. 2018)."""

from __future__ import annotations

import torch
from torch import Tensor

from hf_stitch.geometry.subsets import evenly_spaced

# By hand: Dsilva et al. tell new coordinates from harmonics by residuals near 1 and near 0.
LIMIT = 20  # coordinates looked at: later ones have too few samples for a local regression on all earlier ones
POINTS = 500  # rows used, evenly spaced: the residuals are averages
NEW = 0.5  # residual above which a coordinate counts as new


def harmonic_residuals(coordinates: Tensor, limit: int = LIMIT) -> Tensor:
    """(k,) leave-one-out residuals of local linear regressions of each coordinate on all earlier ones, k <= limit.

    Near 1: a new direction; near 0: a harmonic. The first is 1 by definition. Weights are Gaussian in the earlier
    coordinates with a third of their median distance as width (Dsilva et al. 2018, section 3). coordinates: (n, l).
    """
    rows = coordinates.double()
    if len(rows) > POINTS:
        rows = rows[evenly_spaced(len(rows), POINTS, torch.float32).to(rows.device)]
    count = min(limit, rows.shape[1])
    found = torch.ones(count, dtype=torch.float64)
    for k in range(1, count):
        found[k] = _residual(rows[:, :k], rows[:, k])
    return found


def _residual(known: Tensor, wanted: Tensor) -> Tensor:
    n, k = known.shape
    distance = torch.cdist(known, known)
    width = distance.median() / 3
    weights = torch.exp(-(distance / width.clamp_min(1e-300)).square()).fill_diagonal_(0)
    design = torch.cat([torch.ones_like(known[:, :1]), known], 1)
    # All products of columns at once: the weighted normal equations of every row are one matrix product.
    products = (design[:, :, None] * design[:, None, :]).reshape(n, -1)
    inner = (weights @ products).view(n, k + 1, k + 1)
    right = weights @ (design * wanted[:, None])
    ridge = 1e-9 * inner.diagonal(dim1=1, dim2=2).sum(1) + 1e-300
    inner.diagonal(dim1=1, dim2=2).add_(ridge[:, None])
    slopes = torch.linalg.solve(inner, right[..., None])[..., 0]
    missed = wanted - (design * slopes).sum(1)
    return (missed.square().sum() / wanted.square().sum().clamp_min(1e-300)).sqrt().clamp(max=1.0)


def new_coordinates(residuals: Tensor, total: int) -> Tensor:
    """Numbers of the coordinates to keep: the new ones among those examined, and all later ones."""
    kept = [k for k in range(total) if k >= len(residuals) or k == 0 or float(residuals[k]) > NEW]
    return torch.tensor(kept)
