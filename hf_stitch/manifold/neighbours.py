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
from torch import Tensor

from hf_stitch.errors import ManifoldError
from hf_stitch.manifold.graphs import best_partners, euclidean_graph, kth_smallest, symmetric, two_steps
from hf_stitch.manifold.local_metric import LocalMetric
from hf_stitch.manifold.mahalanobis import edge_distances, one_sided, squared_distances

Rule = Literal["grown", "all"] | int
START = 10  # neighbours a row in the growing graph; the kernel joins rows up to two steps of it apart
DISAGREEMENT = 4.0  # largest ratio of the two one-sided squared distances
ROUNDS = 10
ALL_ROWS = 20_000  # all pairs of more fill the memory: three matrices of float64
DENSE_ROWS = 4000  # up to here one matrix product for all pairs is quicker than the pairs that are needed
SETTLED = 0.02  # share of edges that may still change: two steps along the graph reach past them


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
        return kth_smallest(self.squared, k)


def find_pairs(points: Tensor, metric: LocalMetric, rule: Rule) -> Pairs:
    """Pairs of a checked float64 cloud.

    Raises:
        ManifoldError: a rule that is neither `grown`, `all` nor a number from 1 to n - 1; `all` for too many rows.
    """
    n = len(points)
    if rule == "all":
        if n > ALL_ROWS:
            raise ManifoldError(f"neighbours: all takes at most {ALL_ROWS} rows; got {n} rows: use neighbours: grown")
        return Pairs(squared_distances(points, metric).cpu().numpy())
    if rule == "grown":
        return _grown(points, metric)
    if isinstance(rule, bool) or not isinstance(rule, int) or not 1 <= rule < n:
        raise ManifoldError(f"neighbours: expected grown, all or a number from 1 to {n - 1}; got {rule!r}")
    return Pairs(_Measures(points, metric).of(euclidean_graph(points, rule), np.inf))


class _Measures:
    """Squared distances along graphs: looked up in all one-sided ones where those are cheap, else computed."""

    def __init__(self, points: Tensor, metric: LocalMetric) -> None:
        self.points, self.metric = points, metric
        self.single = one_sided(points, metric).cpu().numpy() if len(points) <= DENSE_ROWS else None

    def of(self, graph: sparse.csr_matrix, disagreement: float) -> sparse.csr_matrix:
        """Squared distances of the edges of a symmetric graph whose one-sided ones agree; zeros stay stored."""
        n = graph.shape[0]
        rows = np.repeat(np.arange(n), np.diff(graph.indptr))
        if self.single is not None:
            there, back = self.single[rows, graph.indices], self.single[graph.indices, rows]
        else:
            there = edge_distances(self.points, self.metric, graph)
            back = _reverse(there, graph)
        fine = np.maximum(there, back) <= disagreement * np.minimum(there, back) + 1e-300
        pointers = np.concatenate([[0], np.bincount(rows[fine], minlength=n).cumsum()]).astype(graph.indptr.dtype)
        return sparse.csr_matrix(((there + back)[fine], graph.indices[fine], pointers), shape=graph.shape)


def _reverse(values: np.ndarray, graph: sparse.csr_matrix) -> np.ndarray:
    """Value of the edge (j, i) at the place of (i, j): the pattern is symmetric, its indices are sorted."""
    return sparse.csc_matrix((values, graph.indices, graph.indptr), shape=graph.shape).tocsr().data


def _grown(points: Tensor, metric: LocalMetric) -> Pairs:
    n = len(points)
    measures = _Measures(points, metric)
    k = min(START, n - 1)
    graph = euclidean_graph(points, k)
    best: sparse.csr_matrix | None = None
    rounds, settled = 0, False
    while not settled and rounds < ROUNDS:
        best = best_partners(measures.of(two_steps(graph, best), DISAGREEMENT), k)
        rows, columns = best.nonzero()
        ranked = symmetric(rows, columns, n)
        settled = (ranked != graph).nnz <= SETTLED * graph.nnz
        graph, rounds = ranked, rounds + 1
    return Pairs(measures.of(two_steps(graph, best), DISAGREEMENT), rounds)
