"""Symmetric kernels whose rows are shared out over processes: dense ones, and sparse ones.

Of a dense kernel each process holds its own rows, on its device. A sparse one has some 30 entries a row: the pairs were
gathered when the neighbours were grown, every process holds them all, and only the products are shared.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sparse
import torch
from torch import Tensor

from hf_stitch.geometry.neighbours.neighbour_rules import Pairs
from hf_stitch.geometry.sparse import JOINING, components
from hf_stitch.runtime.sharding import ALONE, Rows, entries_on


@dataclass(frozen=True)
class DenseKernel:
    """The rows (b, n) float64 of this process."""

    own: Tensor
    rows: Rows = ALONE

    @property
    def shape(self) -> tuple[int, int]:
        return self.own.shape[1], self.own.shape[1]

    def sums(self) -> np.ndarray:
        """(n,) sums of all rows. Each is whole in the process that has the row, so nothing is left to be added up."""
        return self.rows.join(self.own.sum(1).cpu().numpy())

    def scaled(self, by: np.ndarray) -> DenseKernel:
        """by_i K_ij by_j."""
        factors = torch.from_numpy(by).to(self.own.device)
        mine = factors[slice(*self.rows.span(len(by)))]
        return replace(self, own=(self.own * mine[:, None]).mul_(factors))

    def product(self, x: np.ndarray) -> np.ndarray:
        """K x (n,) from x (n,): each process multiplies its rows, the result is gathered."""
        return self.rows.join((self.own @ torch.from_numpy(x).to(self.own.device)).cpu().numpy())

    def whole(self) -> np.ndarray | None:
        """A copy of all rows in the first process, None in the others; gathered in pieces."""
        n = self.shape[0]
        if self.rows.count == 1:
            return self.own.cpu().numpy().copy()
        found = np.empty((n, n)) if self.rows.first else None
        longest = max(end - begin for begin, end in (self.rows.span(n, i) for i in range(self.rows.count)))
        step = max(1, entries_on(torch.device("cpu")) // n)
        for at in range(0, longest, step):
            pieces = self.rows.everyone(self.own[at : at + step].cpu())
            for i, piece in enumerate(pieces):
                if found is not None:
                    begin = self.rows.span(n, i)[0] + at
                    found[begin : begin + len(piece)] = piece.numpy()
        return found

    def components(self) -> int:
        """Number of pieces that weights above rounding join: steps from a row, by all processes at once."""
        n, device = self.shape[0], self.own.device
        begin, end = self.rows.span(n)
        seen, pieces = np.zeros(n, dtype=bool), 0
        step = max(1, entries_on(device) // n)
        while not seen.all():
            pieces += 1
            front = np.zeros(n, dtype=bool)
            front[seen.argmin()] = True
            while front.any():
                seen |= front
                mine = torch.from_numpy(np.flatnonzero(front[begin:end])).to(device)
                reached = torch.zeros(n, dtype=torch.bool, device=device)
                for part in mine.split(step):
                    reached |= self.own[part].amax(0) > JOINING if len(part) else False
                front = self.rows.join(reached.cpu().numpy()[None]).any(0) & ~seen
        return pieces


@dataclass(frozen=True)
class SparseKernel:
    """All rows (n, n), in every process."""

    matrix: sparse.csr_matrix
    rows: Rows = ALONE

    @property
    def shape(self) -> tuple[int, int]:
        return self.matrix.shape

    def sums(self) -> np.ndarray:
        """(n,) sums of all rows."""
        return np.asarray(self.matrix.sum(1)).ravel()

    def scaled(self, by: np.ndarray) -> SparseKernel:
        """by_i K_ij by_j."""
        matrix = self.matrix
        data = matrix.data * np.repeat(by, np.diff(matrix.indptr)) * by[matrix.indices]
        return replace(self, matrix=sparse.csr_matrix((data, matrix.indices, matrix.indptr), shape=matrix.shape))

    def product(self, x: np.ndarray) -> np.ndarray:
        """K x (n,) from x (n,): each process multiplies its rows, the result is gathered."""
        if self.rows.count == 1:
            return self.matrix @ x
        return self.rows.join(self.matrix[slice(*self.rows.span(len(x)))] @ x)

    def whole(self) -> np.ndarray:
        """All rows, dense."""
        return self.matrix.toarray()

    def components(self) -> int:
        """Number of pieces that weights above rounding join."""
        return components(self.matrix)


Kernel = DenseKernel | SparseKernel


def gaussian(pairs: Pairs, bandwidth: float) -> Kernel:
    """exp(-d2 / (2 eps)) on the pairs, 1 on the diagonal."""
    squared = pairs.squared
    if isinstance(squared, Tensor):
        return DenseKernel((squared / (-2 * bandwidth)).exp_(), pairs.rows)
    kernel = sparse.csr_matrix((np.exp(squared.data / (-2 * bandwidth)), squared.indices, squared.indptr))
    return SparseKernel(sparse.csr_matrix(kernel + sparse.identity(kernel.shape[0], format="csr")), pairs.rows)
