"""Sparse matrices of neighbours: rows padded to one width, k-th smallest entries, connected parts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sparse
from scipy.sparse.csgraph import connected_components

from hf_stitch.runtime.sharding import BLOCK

JOINING = float(np.finfo(np.float64).eps)  # smaller weights join nothing


def restricted(matrix: sparse.csr_matrix, kept: np.ndarray) -> sparse.csr_matrix:
    """The stored entries that `kept` (nnz,) marks."""
    places = np.flatnonzero(kept)
    pointers = np.searchsorted(places, matrix.indptr).astype(matrix.indptr.dtype)
    return sparse.csr_matrix((matrix.data[places], matrix.indices[places], pointers), shape=matrix.shape)


def padded(
    pointers: np.ndarray, width: int = 1, block: int = BLOCK
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Blocks of rows of a CSR matrix that have partners: row numbers (b,), places (b, k) of their entries, real (b, k).

    Rows come in descending order of their number of partners; shorter ones repeat their last place, not `real`. A
    block holds about `block` / width entries.
    """
    counts = np.diff(pointers)
    order = np.argsort(-counts, kind="stable")
    order = order[counts[order] > 0]
    begin = 0
    while begin < len(order):
        longest = int(counts[order[begin]])
        rows = order[begin : begin + max(1, block // (longest * width))]
        begin += len(rows)
        steps, mine = np.arange(longest), counts[rows][:, None]
        yield rows, pointers[rows][:, None] + np.minimum(steps, mine - 1), steps < mine


def kth_smallest(measured: sparse.csr_matrix, k: int) -> np.ndarray:
    """(n,) k-th smallest stored value of every row, the largest where it has fewer, NaN where it has none."""
    found = np.full(measured.shape[0], np.nan)
    for block, places, real in padded(measured.indptr):
        values = np.sort(np.where(real, measured.data[places], np.inf), axis=1)
        found[block] = values[np.arange(len(block)), np.minimum(k, real.sum(1)) - 1]
    return found


def components(weights: sparse.csr_matrix) -> int:
    """Number of connected components of a symmetric kernel; weights below rounding join nothing."""
    joined = sparse.csr_matrix(weights > JOINING)
    return int(connected_components(joined, directed=False, return_labels=False))
