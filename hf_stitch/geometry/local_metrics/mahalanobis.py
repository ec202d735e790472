"""Squared Mahalanobis distances between rows, of all pairs or along a graph, of one process's rows or of all.

d2_ij = (y_i - y_j)^T (A_i + A_j) (y_i - y_j), without a factor 1/2 (Bertalan et al. 2021, equation 1). Projections are
subtracted before they are squared, so near pairs keep their digits; the quadratic form would lose them. All pairs are
worked on in blocks of projections that stay in the cache while they are subtracted, squared and summed.
"""

from __future__ import annotations

from math import isqrt

import numpy as np
import scipy.sparse as sparse
import torch
from torch import Tensor

from hf_stitch.errors import ManifoldError
from hf_stitch.geometry.distances import squared_differences
from hf_stitch.geometry.local_metrics.local_metric import LocalMetric
from hf_stitch.geometry.sparse import padded
from hf_stitch.runtime.sharding import ALONE, Rows, entries_on, free_bytes

CACHE = 1 << 20  # bytes of a block on the CPU: half of a usual second-level cache
FREE_SHARE = 0.25  # of an accelerator's free memory for one block; by hand
TILE = 256  # rows and columns of a square that is added to its mirror image: two of float64 fill CACHE


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


def block_entries(itemsize: int, free: int | None = None) -> int:
    """Numbers of one block: what a core's cache holds, or a share of the free bytes of an accelerator's memory."""
    return max(1, (CACHE if free is None else int(FREE_SHARE * free)) // itemsize)


def one_sided(points: Tensor, metric: LocalMetric, block: int | None = None, rows: Rows = ALONE) -> Tensor:
    """(b, n): (y_i - y_j)^T A_i (y_i - y_j), i of the process's rows, in the dtype of the points (n, m).

    On the device of the points, or the one that `rows` names. Memory is the result, two copies of the points, and
    `block` numbers (absent: see `block_entries`), at least as many as the metrics have factors. In float32 the ten
    nearest of 4,000 rows keep five digits with truncated metrics; regularised ones are small differences of large
    terms there, and want float64.
    """
    (n, m), rank, device = points.shape, metric.rank, rows.place(points)
    shifted, mine = (points - points.mean(0)).to(device), slice(*rows.span(n))
    here = shifted[mine]
    result = here.new_zeros(len(here), n)
    if metric.scale.any():
        plain = squared_differences(here, shifted)
        result = plain.mul_(metric.scale[mine, None].to(shifted))
    if not rank:
        return result
    if block is None:
        block = block_entries(points.element_size(), free_bytes(device))
    high = min(n, max(1, isqrt(block) // rank))
    wide = max(1, block // (high * rank))
    wide = -(-n // -(-n // wide))  # no last block that is much smaller
    space = shifted.new_empty(high * rank * wide)
    ended = torch.cat([shifted, shifted.new_ones(n, 1)], 1)  # the product itself then subtracts W_i y_i
    for begin in range(0, len(here), high):
        factors = metric.factors[mine][begin : begin + high].to(shifted)
        own = torch.bmm(factors, here[begin : begin + high, :, None])
        longer = torch.cat([factors, own.neg_()], 2).view(own.numel(), m + 1)
        for left in range(0, n, wide):
            part = ended[left : left + wide]
            images = space[: len(longer) * len(part)].view(len(longer), len(part))
            torch.mm(longer, part.T, out=images)
            lengths = images.square_().view(*own.shape[:2], len(part)).sum(1)
            result[begin : begin + high, left : left + wide].add_(lengths, alpha=metric.sign)
    return result.clamp_min_(0)


def projected(factors: Tensor, rows: Tensor, points: Tensor) -> Tensor:
    """(b, n): |W_i (x_i - y_j)|^2 for factors W (b, r, m), rows x (b, m) and points y (n, m)."""
    b, rank, m = factors.shape
    images = (factors.reshape(b * rank, m) @ points.T).view(b, rank, len(points))
    own = torch.einsum("brm,bm->br", factors, rows)
    return (images - own[..., None]).square().sum(1)


def edge_distances(points: Tensor, metric: LocalMetric, graph: sparse.csr_matrix, begin: int = 0) -> np.ndarray:
    """One-sided (y_i - y_j)^T A_i (y_i - y_j) for the stored entries (i, j) of a graph, from the differences.

    Row 0 of the graph is the row `begin` of the cloud.
    """
    found = np.zeros(graph.nnz)
    block = entries_on(points.device)
    for rows, places, _ in padded(graph.indptr, max(points.shape[1], metric.rank), block):
        index = torch.from_numpy(rows + begin).to(points.device)
        others = torch.from_numpy(graph.indices[places]).to(points.device)
        found[places] = metric.distances(index, points[others] - points[index][:, None]).cpu().numpy()
    return found


def squared_distances(
    points: Tensor, metric: LocalMetric, block: int | None = None, rows: Rows = ALONE, tile: int = TILE
) -> Tensor:
    """(b, n) d2 of the process's rows, zero on the diagonal; dtype, memory and digits as for `one_sided`.

    Several processes send each other what they found, and hold it twice for a moment.
    """
    check_cloud(points, metric)
    both = one_sided(points, metric, block, rows)
    n = len(points)
    if rows.count > 1:
        both.add_(rows.transposed(both)).diagonal(rows.span(n)[0]).zero_()
        return both
    for i in range(0, n, tile):
        for j in range(i, n, tile):
            upper, lower = both[i : i + tile, j : j + tile], both[j : j + tile, i : i + tile]
            upper += lower.T.clone() if i == j else lower.T
            if i != j:
                lower.copy_(upper.T)
    return both.fill_diagonal_(0)
