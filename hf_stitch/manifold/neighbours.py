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
from hf_stitch.manifold.mahalanobis import one_sided

Rule = Literal["grown", "all"] | int
START = 10  # neighbours a row in the growing graph; the kernel joins rows up to two steps of it apart
DISAGREEMENT = 4.0  # largest ratio of the two one-sided squared distances
ROUNDS = 20


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
    single = one_sided(points, metric).cpu().numpy()
    n = len(points)
    if rule == "all":
        both = single + single.T
        np.fill_diagonal(both, 0.0)
        return Pairs(both)
    if rule == "grown":
        return _grown(points, single)
    if isinstance(rule, bool) or not isinstance(rule, int) or not 1 <= rule < n:
        raise ManifoldError(f"neighbours: expected grown, all or a number from 1 to {n - 1}; got {rule!r}")
    return Pairs(_measured(_euclidean_graph(points, rule), single, np.inf))


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


def _measured(graph: sparse.csr_matrix, single: np.ndarray, disagreement: float) -> sparse.csr_matrix:
    """Squared distances of the graph's edges whose one-sided distances agree; zeros stay stored."""
    rows, columns = graph.nonzero()
    there, back = single[rows, columns], single[columns, rows]
    fine = (rows != columns) & (np.maximum(there, back) <= disagreement * np.minimum(there, back) + 1e-300)
    rows, columns = rows[fine], columns[fine]
    found = sparse.csr_matrix(((there + back)[fine], (rows, columns)), shape=graph.shape)
    found.sort_indices()
    return found


def _grown(points: Tensor, single: np.ndarray) -> Pairs:
    n = len(points)
    k = min(START, n - 1)
    graph = _euclidean_graph(points, k)
    rounds = 0
    for rounds in range(1, ROUNDS + 1):  # noqa: B007
        ranked = _best(_measured(graph @ graph + graph, single, DISAGREEMENT), k)
        if (ranked != graph).nnz == 0:
            break
        graph = ranked
    return Pairs(_measured(graph @ graph + graph, single, DISAGREEMENT), rounds)


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
