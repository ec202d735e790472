"""Which pairs of rows a kernel may join: all, the k nearest, or neighbours grown along the cloud.

The squared distance linearises the inverse of the observation, so rows far apart on a curved cloud can seem near. The
rule `grown` starts from few Euclidean neighbours, looks among neighbours of neighbours, ranks by Mahalanobis distance,
drops pairs whose two one-sided distances disagree, and repeats until the sets settle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.sparse as sparse
import torch
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from hf_stitch.errors import ManifoldError
from hf_stitch.manifold.local_metric import LocalMetric
from hf_stitch.manifold.mahalanobis import one_sided, pair_distances

Rule = Literal["grown", "all"] | int
START = 10  # neighbours a row in the growing graph; the kernel joins rows up to two steps of it apart
DISAGREEMENT = 4.0  # largest ratio of the two one-sided squared distances
ROUNDS = 10
DENSE_ROWS = 4000  # up to here one matrix product for all pairs is quicker than the pairs that are needed
SETTLED = 1e-3  # share of edges that may still change


@dataclass(frozen=True)
class Pairs:
    """Symmetric squared distances of the pairs that may be joined, without the diagonal.

    `squared` is a (n, n) array for the rule `all`, else a sparse matrix whose stored entries are the pairs.
    """

    squared: np.ndarray | sparse.csr_matrix
    rounds: int = 0

    @property
    def dense(self) -> bool:
        return isinstance(self.squared, np.ndarray)

    def nearest(self, k: int) -> np.ndarray:
        """(n,) squared distance to the k-th nearest partner, the row itself excluded; the last one where fewer."""
        if isinstance(self.squared, np.ndarray):
            return np.partition(self.squared, k, axis=1)[:, k]  # place 0 is the row itself
        found = np.full(self.squared.shape[0], np.nan)
        for i, (begin, end) in enumerate(zip(self.squared.indptr[:-1], self.squared.indptr[1:])):
            if end > begin:
                row = self.squared.data[begin:end]
                found[i] = np.partition(row, min(k, len(row)) - 1)[min(k, len(row)) - 1]
        return found


def find_pairs(points: Tensor, metric: LocalMetric, rule: Rule) -> Pairs:
    """Pairs of a checked float64 cloud.

    Raises:
        ManifoldError: a rule that is neither `grown`, `all` nor a number from 1 to n - 1.
    """
    n = len(points)
    if rule == "all":
        single = one_sided(points, metric).cpu().numpy()
        both = single + single.T
        np.fill_diagonal(both, 0.0)
        return Pairs(both)
    if rule == "grown":
        return _grown(points, metric)
    if isinstance(rule, bool) or not isinstance(rule, int) or not 1 <= rule < n:
        raise ManifoldError(f"neighbours: expected grown, all or a number from 1 to {n - 1}; got {rule!r}")
    return Pairs(_Measures(points, metric).of(_euclidean_graph(points, rule), np.inf))


def _euclidean_graph(points: Tensor, k: int) -> sparse.csr_matrix:
    """Symmetric graph of the k nearest rows and those for which a row is among the k nearest."""
    n = len(points)
    plain = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist").fill_diagonal_(torch.inf)
    chosen = plain.topk(k, largest=False).indices.cpu().numpy()
    return _symmetric(np.repeat(np.arange(n), k), chosen.ravel(), n)


def _symmetric(rows: np.ndarray, columns: np.ndarray, n: int) -> sparse.csr_matrix:
    graph = sparse.csr_matrix((np.ones(len(rows), dtype=np.int32), (rows, columns)), shape=(n, n))
    graph = graph + graph.T
    graph.data[:] = 1
    graph.sort_indices()
    return graph


class _Measures:
    """One-sided squared distances of pairs, each computed once: all at once where that is cheaper."""

    def __init__(self, points: Tensor, metric: LocalMetric) -> None:
        self.points, self.metric = points, metric
        self.single = one_sided(points, metric).cpu().numpy() if len(points) <= DENSE_ROWS else None
        self.keys = np.empty(0, dtype=np.int64)
        self.values = np.empty(0)

    def of(self, graph: sparse.csr_matrix, disagreement: float) -> sparse.csr_matrix:
        """Squared distances of the edges of a symmetric graph whose one-sided ones agree; zeros stay stored."""
        n = graph.shape[0]
        rows, columns = graph.nonzero()
        rows, columns = rows[rows != columns].astype(np.int64), columns[rows != columns].astype(np.int64)
        there, back = self._lookup(rows, columns, n)
        fine = np.maximum(there, back) <= disagreement * np.minimum(there, back) + 1e-300
        found = sparse.csr_matrix(((there + back)[fine], (rows[fine], columns[fine])), shape=graph.shape)
        found.sort_indices()
        return found

    def _lookup(self, rows: np.ndarray, columns: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        if self.single is not None:
            return self.single[rows, columns], self.single[columns, rows]
        keys = rows * n + columns
        self._learn(keys[~np.isin(keys, self.keys, assume_unique=True)], n)
        back = np.searchsorted(self.keys, columns * n + rows)
        return self.values[np.searchsorted(self.keys, keys)], self.values[back]

    def _learn(self, keys: np.ndarray, n: int) -> None:
        keys = np.sort(keys)
        values = pair_distances(self.points, self.metric, keys // n, keys % n)
        keys, values = np.concatenate([self.keys, keys]), np.concatenate([self.values, values])
        order = np.argsort(keys, kind="stable")
        self.keys, self.values = keys[order], values[order]


def _grown(points: Tensor, metric: LocalMetric) -> Pairs:
    measures = _Measures(points, metric)
    k = min(START, len(points) - 1)
    graph = _euclidean_graph(points, k)
    for rounds in range(1, ROUNDS + 1):
        ranked = _best(measures.of(graph @ graph + graph, DISAGREEMENT), k)
        if rounds == ROUNDS or (ranked != graph).nnz <= SETTLED * graph.nnz:
            break
        graph = ranked
    return Pairs(measures.of(ranked @ ranked + ranked, DISAGREEMENT), rounds)


def _best(measured: sparse.csr_matrix, k: int) -> sparse.csr_matrix:
    """Graph of the k nearest partners of every row and their reverse."""
    n = measured.shape[0]
    rows = np.repeat(np.arange(n), np.diff(measured.indptr))
    order = np.lexsort((measured.indices, measured.data, rows))
    place = np.arange(len(rows)) - measured.indptr[rows]
    chosen = order[place < k]
    return _symmetric(rows[chosen], measured.indices[chosen], n)


def components(weights: np.ndarray | sparse.csr_matrix) -> int:
    """Number of connected components of a symmetric kernel; weights below rounding join nothing."""
    joined = sparse.csr_matrix(weights > np.finfo(np.float64).eps)
    return int(connected_components(joined, directed=False, return_labels=False))
