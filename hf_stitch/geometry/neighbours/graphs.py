"""Sparse graphs of neighbours: Euclidean starts, the k best of every row, steps along the graph.

A graph is a symmetric (n, n) CSR matrix of ones with sorted indices and an empty diagonal unless it says otherwise.
Rows have different numbers of partners; they are worked on in blocks of like numbers, so that little is padded.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sparse
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from hf_stitch.geometry.distances import squared_euclidean
from hf_stitch.geometry.sparse import padded, restricted
from hf_stitch.runtime.sharding import ALONE, Rows, entries_on

# By hand, all three; a graph without hubs has a few hundred two-step candidates a row.
TREE_FEATURES = 15  # a k-d tree beats matrix products in up to so many features
TIE = 1e-6  # relative difference of squared distances below which partners are equally near
HUBS = 1000  # two-step candidates a row above which the graph is full of hubs and only best partners are followed


def near_order(points: Tensor) -> np.ndarray:
    """(n,) int64 numbers of the rows such that near ones come close together.

    What is done along a graph of rows in this order stays in the cache.
    """
    return cKDTree(points[:, :TREE_FEATURES].cpu().numpy()).indices.astype(np.int64)


def euclidean_partners(points: Tensor, k: int, rows: Rows = ALONE) -> np.ndarray:
    """(n, k) int64 numbers of the k nearest other rows; each process looks for those of its own; memory is bounded."""
    n, m = points.shape
    begin, end = rows.span(n)
    if m <= TREE_FEATURES and points.device.type == "cpu":
        cloud = points.numpy()
        found = cKDTree(cloud).query(cloud[begin:end], k + 1, workers=-1)[1].astype(np.int64)
    else:
        shifted, size = points - points.mean(0), max(1, entries_on(points.device) // n)
        own = shifted[begin:end].split(size)
        found = torch.cat([squared_euclidean(part, shifted).topk(k + 1, largest=False).indices for part in own])
        found = found.cpu().numpy()
    itself = found == np.arange(begin, end)[:, None]
    itself[~itself.any(1), -1] = True  # a row with more than k twins may not have found itself
    return rows.join(found[~itself].reshape(end - begin, k))


def undirected(graph: sparse.csr_matrix) -> sparse.csr_matrix:
    """Graph of the edges of a directed one and their reverse."""
    return _ones(sparse.csr_matrix(graph + graph.T))


def _ones(graph: sparse.csr_matrix) -> sparse.csr_matrix:
    graph.data[:] = 1
    graph.sort_indices()
    return graph


def euclidean_best(points: Tensor, k: int, rows: Rows = ALONE) -> sparse.csr_matrix:
    """Directed graph of the k nearest rows."""
    n = len(points)
    partners = euclidean_partners(points, k, rows).ravel()
    return sparse.csr_matrix((np.ones(n * k, dtype=np.int32), partners, np.arange(0, n * k + 1, k)), shape=(n, n))


def euclidean_graph(points: Tensor, k: int, rows: Rows = ALONE) -> sparse.csr_matrix:
    """Graph of the k nearest rows and those for which a row is among the k nearest."""
    return undirected(euclidean_best(points, k, rows))


def two_steps(graph: sparse.csr_matrix, best: sparse.csr_matrix, rows: Rows = ALONE) -> sparse.csr_matrix:
    """Rows one or two steps apart, diagonal left out; each process steps from its own rows.

    `best` is the directed graph behind `graph`: in clouds of many dimensions few rows are among the nearest of very
    many, and steps through such hubs would join everything; then only steps from best to best partners are taken.
    """
    begin, end = rows.span(graph.shape[0])
    if float((np.diff(graph.indptr).astype(np.float64) ** 2).sum()) > HUBS * graph.shape[0]:
        far = rows.join_graph(sparse.csr_matrix(best[begin:end] @ best))
        near = far[begin:end] + far.T.tocsr()[begin:end] + graph[begin:end]
    else:
        near = graph[begin:end] @ graph + graph[begin:end]
    near = sparse.csr_matrix(near)
    own = np.repeat(np.arange(begin, end), np.diff(near.indptr))
    return rows.join_graph(_ones(restricted(near, near.indices != own)))


def best_partners(measured: sparse.csr_matrix, k: int, rows: Rows = ALONE) -> sparse.csr_matrix:
    """Directed graph of the k nearest partners of every row, and those as near as the k-th, 2 k at most.

    Without them the order of rows would decide which way a regular grid leans. Each process ranks the partners of its
    own rows.
    """
    n = measured.shape[0]
    own = measured[slice(*rows.span(n))]
    ranks, columns = [], []
    for block, places, real in padded(own.indptr):
        values = np.where(real, own.data[places], np.inf)
        order = np.argsort(values, axis=1, kind="stable")[:, : 2 * k]
        ranked = np.take_along_axis(values, order, 1)
        kept = np.take_along_axis(real, order, 1) & (ranked <= (1 + TIE) * ranked[:, min(k, ranked.shape[1]) - 1, None])
        ranks.append(np.repeat(block, kept.sum(1)))
        columns.append(own.indices[np.take_along_axis(places, order, 1)[kept]])
    row, column = (np.concatenate(parts or [np.empty(0, dtype=np.int64)]) for parts in (ranks, columns))
    ones = np.ones(len(row), dtype=np.int32)
    return rows.join_graph(sparse.csr_matrix((ones, (row, column)), shape=(own.shape[0], n)))


def recall(partners: np.ndarray, joined: sparse.csr_matrix) -> float:
    """Share of the pairs of rows with their `partners` (n, k) that a graph joins."""
    n = joined.shape[0]
    graph = joined.sorted_indices()
    edges = np.repeat(np.arange(n, dtype=np.int64), np.diff(graph.indptr)) * n + graph.indices
    wanted = (np.arange(n, dtype=np.int64)[:, None] * n + partners).ravel()
    places = np.searchsorted(edges, wanted).clip(max=len(edges) - 1)
    return float((edges[places] == wanted).mean())
