"""Which pairs of rows a kernel may join: all, the k nearest, or neighbours grown along the cloud.

The squared distance linearises the inverse of the observation, so rows far apart on a curved cloud can seem near. The
rule `grown` starts from few Euclidean neighbours, looks among neighbours of neighbours, ranks by Mahalanobis distance,
drops pairs whose two one-sided distances disagree, and repeats until the sets settle. Far pairs, of which two steps
find some and miss others, are left out then: which ones stay is a matter of distance and not of the observation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.sparse as sparse
from torch import Tensor

from hf_stitch.errors import ManifoldError
from hf_stitch.geometry.local_metrics.local_metric import LocalMetric
from hf_stitch.geometry.local_metrics.mahalanobis import edge_distances, one_sided, squared_distances
from hf_stitch.geometry.neighbours.graphs import (
    TIE,
    best_partners,
    euclidean_best,
    euclidean_graph,
    two_steps,
    undirected,
)
from hf_stitch.geometry.sparse import kth_smallest, restricted
from hf_stitch.runtime.sharding import ALONE, Rows

Rule = Literal["grown", "all"] | int
# From fewer, some of the nearest that carry the kernel are missed, other ones in every observation: from 10, 1 in 100
# of the 20 nearest. From 14 the recall of the 10 nearest is 1.0000, and from 10,000 points on the spectra of two
# networks agree within about 0.1 % (tests/benchmarks/results.json).
START = 14  # neighbours a row in the growing graph; what the kernel joins is up to two steps of it apart
# By hand. Measured on activations of the vector fields: growing with this test finds 0.999 of the true 32 nearest, of
# which 0.7 are among the 48 Euclidean nearest. Algorithm 1 of Bertalan et al. has no such test.
DISAGREEMENT = 4.0  # largest ratio of the two one-sided squared distances
ROUNDS = 10  # two or three are enough for a curved cloud of 20,000 rows; by hand, for those that never settle
ALL_ROWS = 20_000  # all pairs of more fill the memory: three matrices of float64, 9.6 GB
DENSE_ROWS = 4000  # by hand: up to here one matrix product for all pairs is quicker than the pairs that are needed
SETTLED = 0.02  # by hand: share of edges that may still change; two steps along the graph reach past them
NEIGHBOUR = 10  # the usual squared distance to this neighbour is the bandwidth, as in Bertalan et al., Algorithm 1
# By hand; ALWAYS is twice NEIGHBOUR.
REACH = 2.5  # in these units two steps find nearly all pairs of a cloud of two dimensions
LONELY = 2.0  # and in those of a row's own distance, where the cloud is thin
ALWAYS = 20  # nearest partners of a row that stay: at the ends of a curve they all lie on one side


@dataclass(frozen=True)
class Pairs:
    """Symmetric squared distances of the pairs that may be joined, without the diagonal.

    `squared` is (b, n), the rows of this process, for the rule `all`; else a sparse (n, n) matrix whose stored entries
    are the pairs, whole in every process: it is small.
    """

    squared: Tensor | sparse.csr_matrix
    rows: Rows = ALONE
    rounds: int = 0

    def nearest(self, k: int) -> np.ndarray:
        """(n,) squared distance to the k-th nearest partner, the row itself excluded; the last one where fewer."""
        if isinstance(self.squared, Tensor):
            ranked = self.squared.topk(k + 1, largest=False).values  # the first is the row itself
            return self.rows.join(ranked[:, k].cpu().numpy())
        return kth_smallest(self.squared, k)


def find_pairs(
    points: Tensor, metric: LocalMetric, rule: Rule, rows: Rows = ALONE, table_rows: int = DENSE_ROWS
) -> Pairs:
    """Pairs of a checked float64 cloud; the rows are shared out over processes.

    Args:
        table_rows: distances of all pairs are looked up in a table for up to so many rows, and computed one by one
            for more.

    Raises:
        ManifoldError: a rule that is neither `grown`, `all` nor a number from 1 to n - 1; `all` for too many rows.
    """
    n = len(points)
    if rule == "all":
        if n > ALL_ROWS:
            raise ManifoldError(f"neighbours: all takes at most {ALL_ROWS} rows; got {n} rows: use neighbours: grown")
        return Pairs(squared_distances(points, metric, rows=rows), rows)
    if rule == "grown":
        return _grown(points, metric, rows, table_rows)
    if isinstance(rule, bool) or not isinstance(rule, int) or not 1 <= rule < n:
        raise ManifoldError(f"neighbours: expected grown, all or a number from 1 to {n - 1}; got {rule!r}")
    measures = _Measures(points, metric, rows, table_rows)
    return Pairs(measures.of(euclidean_graph(measures.points, rule, rows), np.inf), rows)


class _Measures:
    """Squared distances along graphs: looked up in all one-sided ones where those are cheap, else computed.

    Each process measures the edges of its own rows in their metrics; all of them have all values then.
    """

    def __init__(self, points: Tensor, metric: LocalMetric, rows: Rows, table_rows: int) -> None:
        device = rows.place(points)
        self.points, self.metric, self.rows = points.to(device), metric.to(device), rows
        self.single = one_sided(points, metric, rows=rows).cpu().numpy() if len(points) <= table_rows else None

    def of(self, graph: sparse.csr_matrix, disagreement: float) -> sparse.csr_matrix:
        """Squared distances of the edges of a symmetric graph whose one-sided ones agree; zeros stay stored."""
        n = graph.shape[0]
        begin, end = self.rows.span(n)
        own = graph[begin:end]
        if self.single is not None:
            there = self.single[np.repeat(np.arange(end - begin), np.diff(own.indptr)), own.indices]
        else:
            there = edge_distances(self.points, self.metric, own, begin)
        there = self.rows.join(there)
        back = _reverse(there, graph)
        agreed = np.maximum(there, back) <= disagreement * np.minimum(there, back) + 1e-300
        return restricted(sparse.csr_matrix((there + back, graph.indices, graph.indptr), shape=graph.shape), agreed)


def _reverse(values: np.ndarray, graph: sparse.csr_matrix) -> np.ndarray:
    """Value of the edge (j, i) at the place of (i, j): the pattern is symmetric, its indices are sorted."""
    return sparse.csc_matrix((values, graph.indices, graph.indptr), shape=graph.shape).tocsr().data


def _grown(points: Tensor, metric: LocalMetric, shared: Rows, table_rows: int) -> Pairs:
    n = len(points)
    measures = _Measures(points, metric, shared, table_rows)
    k = min(START, n - 1)
    best = euclidean_best(measures.points, k, shared)
    rounds, settled = 0, False
    while not settled and rounds < ROUNDS:
        graph = undirected(best)
        measured = measures.of(two_steps(graph, best, shared), DISAGREEMENT)
        best = best_partners(measured, k, shared)
        settled = (undirected(best) != graph).nnz <= SETTLED * graph.nnz
        rounds += 1
    return Pairs(_within_reach(measured), shared, rounds)


def _within_reach(measured: sparse.csr_matrix) -> sparse.csr_matrix:
    """The pairs of which two steps find nearly all: the nearest of either row, and those at usual distances."""
    near, wide = kth_smallest(measured, NEIGHBOUR), kth_smallest(measured, ALWAYS)
    if np.isnan(near).all():
        return measured
    far = np.maximum(np.maximum(wide, LONELY * near), REACH * np.nanmedian(near)) * (1 + TIE)
    rows = np.repeat(np.arange(len(near)), np.diff(measured.indptr))
    return restricted(measured, measured.data <= np.maximum(far[rows], far[measured.indices]))
