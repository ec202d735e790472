"""Squared Mahalanobis distances between rows, dense, in float64.

d2_ij = (y_i - y_j)^T (A_i + A_j) (y_i - y_j), without a factor 1/2 (Bertalan et al. 2021, equation 1). Projections are
subtracted before they are squared, so near pairs keep their digits; the quadratic form would lose them.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sparse
import torch
from torch import Tensor

from hf_stitch.errors import ManifoldError
from hf_stitch.manifold.graphs import padded
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


def edge_distances(points: Tensor, metric: LocalMetric, graph: sparse.csr_matrix) -> np.ndarray:
    """One-sided (y_i - y_j)^T A_i (y_i - y_j) for the stored entries (i, j) of a graph, from the differences."""
    found = np.zeros(graph.nnz)
    for rows, places, _ in padded(graph.indptr, max(points.shape[1], metric.rank)):
        index = torch.from_numpy(rows).to(points.device)
        others = torch.from_numpy(graph.indices[places]).to(points.device)
        found[places] = metric.distances(index, points[others] - points[index][:, None]).cpu().numpy()
    return found


def squared_distances(points: Tensor, metric: LocalMetric) -> Tensor:
    """(n, n) float64 symmetric d2, zero on the diagonal."""
    single = one_sided(check_cloud(points, metric), metric)
    both = single + single.T
    return both.fill_diagonal_(0)
