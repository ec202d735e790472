"""Leading eigenpairs of a symmetric Markov kernel, apart from the constant one that is known.

Four solvers, chosen by size and shape of the kernel alone. `known` (n,) is the unit eigenvector of eigenvalue 1; every
solver keeps it out, so that nearly disconnected clouds, which have more eigenvalues near 1, cannot mix it into others.

Over several processes the choice and the start are the same as in one, so the result is too, up to rounding. The
first process leads. `lanczos` multiplies with rows in all of them; for `dense` the rows are sent to the first one;
`shift-invert` and `lobpcg` are its own: a factorisation cannot be shared out by rows, 50 back-substitutions depend on
each other, and a product with a sparse matrix costs no more than sending the vector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import scipy.linalg
import scipy.sparse as sparse
import scipy.sparse.linalg
import torch
from scipy.sparse.csgraph import breadth_first_order
from threadpoolctl import threadpool_limits

from hf_stitch.geometry.diffusion.aggregation import block_iteration
from hf_stitch.geometry.diffusion.kernel import DenseKernel, Kernel, SparseKernel

DENSE_SHARE = 0.1  # by hand: above this share of all eigenpairs the dense solver is quicker at any size
# By hand; the nearer to 1, the sooner the leading eigenvalues stand out, and the worse conditioned is the matrix.
SHIFT = 1e-5  # 1 + SHIFT is just outside of the spectrum: the factorised matrix is positive definite
FEW = 32  # eigenpairs that a block solver can hold together; by hand

Matrix: TypeAlias = Kernel | np.ndarray | sparse.csr_matrix
Pairs: TypeAlias = tuple[np.ndarray, np.ndarray]
Found: TypeAlias = Sequence[np.ndarray]  # eigenvalues and eigenvectors


@dataclass(frozen=True)
class SolverLimits:
    """Sizes at which one solver becomes quicker than another, by hand but for `factors`.

    Attributes:
        dense_rows: up to here the dense solver is quicker for kernels of all pairs, whatever is asked for.
        sparse_rows: and up to here for sparse ones.
        separator: rows that cut the graph; factors need about its square, here 128 MB.
        factors: rows above which block iteration is quicker than factors of even a thin graph.
    """

    dense_rows: int = 3000
    sparse_rows: int = 500
    separator: int = 4000
    # tests/benchmarks/results.json: both maps take 8.5 s at 50,000 rows by factors, 15.3 s at 100,000 by iteration.
    factors: int = 60_000


LIMITS = SolverLimits()


def solver_for(matrix: Matrix, count: int, limits: SolverLimits = LIMITS) -> str:
    """Name of the solver that `leading` takes.

    `dense`: LAPACK, few rows or many eigenpairs. `lanczos`: ARPACK, where pairs are dense or the cloud has many
    dimensions: few gaps are small then, and factors would fill up. `shift-invert`: ARPACK on a sparse factorisation,
    for clouds of one, two and few three dimensions, whose leading eigenvalues crowd at 1. `lobpcg`: block iteration
    preconditioned on an aggregated cloud, for larger thin clouds.
    """
    kernel, n = _kernel(matrix), matrix.shape[0]
    small = limits.dense_rows if isinstance(kernel, DenseKernel) else limits.sparse_rows
    if count > DENSE_SHARE * n or n <= small:
        return "dense"
    widest = limits.separator * max(1.0, (n / limits.factors) ** 0.5)
    if isinstance(kernel, DenseKernel) or _separator(kernel.matrix) > widest:
        return "lanczos"
    if n <= limits.factors:
        return "shift-invert"
    return "lobpcg" if count <= FEW else "lanczos"


def _separator(graph: sparse.csr_matrix) -> int:
    """Largest number of rows equally many steps from a row at the rim: removing them cuts the graph."""
    rim = breadth_first_order(graph, 0, return_predecessors=False)[-1]
    order, before = breadth_first_order(graph, rim)
    depth = np.zeros(graph.shape[0], dtype=np.int64)
    for row in order[1:]:
        depth[row] = depth[before[row]] + 1
    return int(np.bincount(depth).max())


def leading(
    matrix: Matrix, known: np.ndarray, count: int, solver: str | None = None, limits: SolverLimits = LIMITS
) -> Pairs:
    """The `count` largest eigenvalues, descending, and eigenvectors (n, count) orthogonal to `known`."""
    kernel = _kernel(matrix)
    chosen = solver or solver_for(kernel, count, limits)
    # The small products of these take longer when NumPy shares them out over threads, a busy machine's several times.
    with threadpool_limits(1 if chosen in ("shift-invert", "lobpcg") else None, "blas"):
        values, vectors = _SOLVERS[chosen](kernel, known, count, limits)
    order = np.argsort(-values, kind="stable")
    values, vectors = values[order], vectors[:, order]
    return values, vectors * signs(vectors)


def _kernel(matrix: Matrix) -> Kernel:
    """A kernel, or a matrix that one process holds, as a kernel."""
    if isinstance(matrix, np.ndarray):
        return DenseKernel(torch.from_numpy(matrix))
    return SparseKernel(matrix) if sparse.issparse(matrix) else matrix


def _dense(kernel: Kernel, known: np.ndarray, count: int, limits: SolverLimits) -> Found:
    n, whole = len(known), kernel.whole()

    def solve() -> Found:
        assert whole is not None
        whole[...] -= 3.0 * np.outer(known, known)  # its eigenvalue becomes -2
        return scipy.linalg.eigh(whole, subset_by_index=[n - count, n - 1], overwrite_a=True)

    return kernel.rows.by_first(solve)


def _arpack(
    product: Callable[[np.ndarray], np.ndarray], n: int, count: int, steps: int, tolerance: float = 0.0
) -> Found:
    operator = scipy.sparse.linalg.LinearOperator((n, n), matvec=product, dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(n)
    return scipy.sparse.linalg.eigsh(operator, count, which="LA", v0=start, ncv=min(n - 1, steps), tol=tolerance)


def _lanczos(kernel: Kernel, known: np.ndarray, count: int, limits: SolverLimits) -> Found:
    def solve(product: Callable[[np.ndarray], np.ndarray]) -> Found:
        return _arpack(lambda x: product(x) - 3.0 * known * (known @ x), len(known), count, max(2 * count + 1, 40))

    return kernel.rows.driven(kernel.product, solve)


def _shift_invert(kernel: Kernel, known: np.ndarray, count: int, limits: SolverLimits) -> Found:
    matrix = _sparse(kernel)

    def solve() -> Found:
        factors = _factorised(matrix)

        def product(x: np.ndarray) -> np.ndarray:
            found = factors.solve(x - known * (known @ x))
            return found - known * (known @ found)

        vectors = _arpack(product, len(known), count, 2 * count + 4, 1e-12)[1]
        return np.einsum("nl,nl->l", vectors, matrix @ vectors), vectors

    return kernel.rows.by_first(solve)


def _lobpcg(kernel: Kernel, known: np.ndarray, count: int, limits: SolverLimits) -> Found:
    coarse = partial(leading, limits=limits)

    def solve() -> Found:
        return block_iteration(_sparse(kernel), known, count, coarse, lambda small: _factorised(small).solve)

    return kernel.rows.by_first(solve)


def _sparse(kernel: Kernel) -> sparse.csr_matrix:
    assert isinstance(kernel, SparseKernel), "this solver takes sparse kernels only"
    return kernel.matrix


def _factorised(matrix: sparse.csr_matrix) -> Any:
    """SuperLU of (1 + SHIFT) I - T, which is symmetric and positive definite: no pivoting, minimum degree ordering."""
    shifted = sparse.csc_matrix((1 + SHIFT) * sparse.identity(matrix.shape[0], format="csc") - matrix)
    options = {"SymmetricMode": True, "Equil": False}
    return scipy.sparse.linalg.splu(shifted, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options)


def signs(vectors: np.ndarray) -> np.ndarray:
    """(l,) of +1 and -1: makes the third moment positive, or the first largest entry where a vector has none.

    The third moment does not depend on the order of rows.
    """
    skew = (vectors**3).sum(0)
    large = np.abs(vectors)
    first = (large >= (1 - 1e-6) * large.max(0)).argmax(0)
    entry = vectors[first, np.arange(vectors.shape[1])]
    return np.where(np.abs(skew) > 1e-6 * (large**3).sum(0), np.sign(skew), np.sign(entry))


_SOLVERS: dict[str, Callable[[Kernel, np.ndarray, int, SolverLimits], Found]] = {
    "dense": _dense,
    "lanczos": _lanczos,
    "shift-invert": _shift_invert,
    "lobpcg": _lobpcg,
}
