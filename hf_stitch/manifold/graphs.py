"""Sparse graphs of neighbours: Euclidean starts, the k best of every row, steps along the graph.

A graph is a symmetric (n, n) CSR matrix of ones with sorted indices and an empty diagonal unless it says otherwise.
Rows have different numbers of partners; they are worked on in blocks of like numbers, so that little is padded.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sparse
import torch
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from torch import Tensor

from hf_stitch.manifold.interpolation import BLOCK, squared_euclidean

TREE_FEATURES = 15  # a k-d tree beats matrix products in up to so many features
TIE = 1e-6  # relative difference of squared distances below which partners are equally near
HUBS = 1000  # two-step candidates a row above which the graph is full of hubs and only best partners are followed


def euclidean_partners(points: Tensor, k: int) -> np.ndarray:
    """(n, k) int64 numbers of the k nearest other rows; memory is bounded."""
    n, m = points.shape
    if m <= TREE_FEATURES and points.device.type == "cpu":
        rows = points.numpy()
        found = cKDTree(rows).query(rows, k + 1, workers=-1)[1].astype(np.int64)
    else:
        shifted, size = points - points.mean(0), max(1, BLOCK // n)
        parts = [squared_euclidean(part, shifted).topk(k + 1, largest=False).indices for part in shifted.split(size)]
        found = torch.cat(parts).cpu().numpy()
    itself = found == np.arange(n)[:, None]
    itself[~itself.any(1), -1] = True  # a row with more than k twins may not have found itself
    return found[~itself].reshape(n, k)


def symmetric(rows: np.ndarray, columns: np.ndarray, n: int) -> sparse.csr_matrix:
    """Graph of the given edges and their reverse."""
    graph = sparse.csr_matrix((np.ones(len(rows), dtype=np.int32), (rows, columns)), shape=(n, n))
    return _ones(graph + graph.T)


def _ones(graph: sparse.csr_matrix) -> sparse.csr_matrix:
    graph.data[:] = 1
    graph.sort_indices()
    return graph


def euclidean_graph(points: Tensor, k: int) -> sparse.csr_matrix:
    """Graph of the k nearest rows and those for which a row is among the k nearest."""
    n = len(points)
    return symmetric(np.repeat(np.arange(n), k), euclidean_partners(points, k).ravel(), n)


def two_steps(graph: sparse.csr_matrix, best: sparse.csr_matrix | None = None) -> sparse.csr_matrix:
    """Rows one or two steps apart, diagonal left out.

    `best` is the directed graph behind `graph`: in clouds of many dimensions few rows are among the nearest of very
    many, and steps through such hubs would join everything; then only steps from best to best partners are taken.
    """
    n = graph.shape[0]
    if best is not None and float((np.diff(graph.indptr).astype(np.float64) ** 2).sum()) > HUBS * n:
        near = best @ best
        near = near + near.T + graph
    else:
        near = graph @ graph + graph
    near = sparse.csr_matrix(near)
    rows = np.repeat(np.arange(n), np.diff(near.indptr))
    kept = near.indices != rows
    counts = np.bincount(rows[kept], minlength=n)
    pointers = np.concatenate([[0], counts.cumsum()]).astype(near.indptr.dtype)
    ones = np.ones(pointers[-1], dtype=np.int32)
    return _ones(sparse.csr_matrix((ones, near.indices[kept], pointers), shape=(n, n)))


def padded(pointers: np.ndarray, width: int = 1) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Blocks of rows of a CSR matrix that have partners: row numbers (b,), places (b, k) of their entries, real (b, k).

    Rows come in descending order of their number of partners; shorter ones repeat their last place, not `real`. A
    block holds about BLOCK / width entries.
    """
    counts = np.diff(pointers)
    order = np.argsort(-counts, kind="stable")
    order = order[counts[order] > 0]
    begin = 0
    while begin < len(order):
        longest = int(counts[order[begin]])
        rows = order[begin : begin + max(1, BLOCK // (longest * width))]
        begin += len(rows)
        steps, mine = np.arange(longest), counts[rows][:, None]
        yield rows, pointers[rows][:, None] + np.minimum(steps, mine - 1), steps < mine


def best_partners(measured: sparse.csr_matrix, k: int) -> sparse.csr_matrix:
    """Directed graph of the k nearest partners of every row, and those as near as the k-th, 2 k at most.

    Without them the order of rows would decide which way a regular grid leans.
    """
    rows, columns = [], []
    for block, places, real in padded(measured.indptr):
        values = np.where(real, measured.data[places], np.inf)
        order = np.argsort(values, axis=1, kind="stable")[:, : 2 * k]
        ranked = np.take_along_axis(values, order, 1)
        kept = np.take_along_axis(real, order, 1) & (ranked <= (1 + TIE) * ranked[:, min(k, ranked.shape[1]) - 1, None])
        rows.append(np.repeat(block, kept.sum(1)))
        columns.append(measured.indices[np.take_along_axis(places, order, 1)[kept]])
    n = measured.shape[0]
    row, column = (np.concatenate(parts or [np.empty(0, dtype=np.int64)]) for parts in (rows, columns))
    return sparse.csr_matrix((np.ones(len(row), dtype=np.int32), (row, column)), shape=(n, n))


def kth_smallest(measured: sparse.csr_matrix, k: int) -> np.ndarray:
    """(n,) k-th smallest stored value of every row, the largest where it has fewer, NaN where it has none."""
    found = np.full(measured.shape[0], np.nan)
    for block, places, real in padded(measured.indptr):
        values = np.sort(np.where(real, measured.data[places], np.inf), axis=1)
        found[block] = values[np.arange(len(block)), np.minimum(k, real.sum(1)) - 1]
    return found


def components(weights: np.ndarray | sparse.csr_matrix) -> int:
    """Number of connected components of a symmetric kernel; weights below rounding join nothing."""
    joined = sparse.csr_matrix(weights > np.finfo(np.float64).eps)
    return int(connected_components(joined, directed=False, return_labels=False))
