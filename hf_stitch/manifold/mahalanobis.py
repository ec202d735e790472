"""Squared Mahalanobis distances between rows, dense, in float64.

d2_ij = (y_i - y_j)^T (A_i + A_j) (y_i - y_j), without a factor 1/2 (Bertalan et al. 2021, equation 1). Projections are
subtracted before they are squared, so near pairs keep their digits; the quadratic form would lose them.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hf_stitch.errors import ManifoldError
from hf_stitch.manifold.interpolation import BLOCK
from hf_stitch.manifold.local_metric import LocalMetric


def check_cloud(points: Tensor, metric: LocalMetric) -> Tensor:
    """The points in float64; ManifoldError for NaN, one row, no spread, or a metric of another shape."""
    if points.ndim != 2 or (len(metric), metric.features) != tuple(points.shape):
        got = f"{tuple(points.shape)} and {len(metric)} x {metric.features}"
        raise ManifoldError(f"expected points (n, m) and as many metrics of m features; got {got}")
    if len(points) < 3:
        raise ManifoldError(f"a diffusion map needs at least three rows; got {len(points)}: take more samples")
    bad = (~points.isfinite()).any(1)
    if bad.any():
        raise ManifoldError(f"{int(bad.sum())} of {len(points)} rows hold NaN or infinite numbers: leave them out")
    if (points == points[0]).all():
        raise ManifoldError(f"all {len(points)} rows are identical: take features that differ between samples")
    return points.double()


def one_sided(points: Tensor, metric: LocalMetric) -> Tensor:
    """(n, n) float64: (y_i - y_j)^T A_i (y_i - y_j), by blocks of rows; memory is the result and one block."""
    n, rank = len(points), metric.rank
    shifted = points - points.mean(0)
    result = torch.zeros(n, n, dtype=torch.float64, device=points.device)
    if metric.scale.any():
        plain = torch.cdist(shifted, shifted, compute_mode="donot_use_mm_for_euclid_dist").square_()
        result = plain.mul_(metric.scale.double()[:, None])
    if not rank:
        return result
    size = max(1, BLOCK // (n * rank))
    for begin in range(0, n, size):
        factors = metric.factors[begin : begin + size].to(shifted)
        rows = shifted[begin : begin + size]
        result[begin : begin + size].add_(projected(factors, rows, shifted), alpha=metric.sign)
    return result.clamp_min_(0)


def projected(factors: Tensor, rows: Tensor, points: Tensor) -> Tensor:
    """(b, n): |W_i (x_i - y_j)|^2 for factors W (b, r, m), rows x (b, m) and points y (n, m)."""
    b, rank, m = factors.shape
    images = (factors.reshape(b * rank, m) @ points.T).view(b, rank, len(points))
    own = torch.einsum("brm,bm->br", factors, rows)
    return (images - own[..., None]).square().sum(1)


def pair_distances(points: Tensor, metric: LocalMetric, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """(p,) one-sided (y_i - y_j)^T A_i (y_i - y_j) for pairs (i, j) sorted by i, from the differences themselves."""
    found = np.zeros(len(rows))
    starts = np.searchsorted(rows, np.arange(len(points) + 1))
    counts = np.diff(starts)
    order = np.argsort(-counts, kind="stable")  # rows of like numbers of pairs share a block: little padding
    order = order[counts[order] > 0]
    begin = 0
    while begin < len(order):
        longest = int(counts[order[begin]])
        size = max(1, BLOCK // (longest * points.shape[1]))
        chosen = order[begin : begin + size]
        begin += size
        places = starts[chosen][:, None] + np.minimum(np.arange(longest), counts[chosen][:, None] - 1)
        index = torch.from_numpy(chosen).to(points.device)
        others = points[torch.from_numpy(columns[places]).long().to(points.device)]
        found[places] = metric.distances(index, others - points[index][:, None]).cpu().numpy()
    return found


def squared_distances(points: Tensor, metric: LocalMetric) -> Tensor:
    """(n, n) float64 symmetric d2, zero on the diagonal."""
    single = one_sided(check_cloud(points, metric), metric)
    both = single + single.T
    return both.fill_diagonal_(0)
