"""Leading eigenpairs of Markov kernels too large to factorise quickly: block iteration with an aggregated cloud.

Rows are joined into aggregates around roots that are no neighbours of each other. The kernel on aggregates (Vanek et
al. 1996, unsmoothed) is many times smaller and is factorised; it gives the start and, with one smoothing step
before and after, the preconditioner of LOBPCG (Knyazev 2001).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import scipy.sparse as sparse
import scipy.sparse.linalg
import torch

# By hand. Eigenvalues of a symmetric matrix err by the square of their vectors' residual: PRECISION leaves 1 - a about
# ten digits.
EXTRA = 4  # more vectors than asked for: the last ones of a block converge slowly
STEPS, CHECKED = 60, 10  # at most so many, and those after which it is seen whether the ones asked for are there
PRECISION = 1e-5  # residual of an eigenvector as a share of its distance 1 - a from the top of the spectrum
Eigensolver = Callable[[sparse.csr_matrix, np.ndarray, int], tuple[np.ndarray, np.ndarray]]
Solve = Callable[[np.ndarray], np.ndarray]


def aggregates(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """(n, c) of ones: the aggregate of every row, that of its heaviest neighbour among the roots.

    Roots are a maximal independent set, found in rounds by fixed random priorities (Luby 1986).
    """
    n = matrix.shape[0]
    pointers, columns = matrix.indptr, matrix.indices
    priority = np.random.default_rng(0).permutation(n).astype(np.int64) + 1
    open_ = np.ones(n, dtype=bool)
    root = np.zeros(n, dtype=bool)
    while open_.any():
        offered = np.where(open_, priority, 0)
        new = open_ & (np.maximum.reduceat(offered[columns], pointers[:-1]) <= priority)
        root |= new
        open_ &= np.maximum.reduceat(new[columns], pointers[:-1]) == 0
        open_[new] = False
    weight = np.where(root[columns], matrix.data, -1.0)
    heaviest = np.maximum.reduceat(weight, pointers[:-1])
    own = np.repeat(np.arange(n), np.diff(pointers))
    hits = np.flatnonzero((weight == heaviest[own]) & (weight >= 0))
    joined = np.empty(n, dtype=np.int64)
    joined[own[hits[::-1]]] = columns[hits[::-1]]
    joined[root] = np.flatnonzero(root)
    number = root.cumsum() - 1
    return sparse.csr_matrix((np.ones(n), number[joined], np.arange(n + 1)), shape=(n, int(root.sum())))


def block_iteration(
    matrix: sparse.csr_matrix,
    known: np.ndarray,
    count: int,
    coarse: Eigensolver,
    factorised: Callable[[sparse.csr_matrix], Solve],
    steps: int = STEPS,
    checked: int = CHECKED,
) -> tuple[np.ndarray, np.ndarray]:
    """`count` eigenpairs of a sparse kernel (n, n) orthogonal to `known`; `coarse` solves the aggregated problem.

    It takes at most so many `steps`, and looks after each `checked` of them whether that is enough.
    """
    joined = aggregates(matrix)
    wide = sparse.csr_matrix(sparse.diags(known) @ joined)
    lengths = np.sqrt(np.asarray(wide.multiply(wide).sum(0)).ravel())
    wide = sparse.csr_matrix(wide @ sparse.diags(1 / lengths))  # orthonormal columns whose span holds `known`
    small = sparse.csr_matrix(wide.T @ matrix @ wide)
    start = wide @ coarse(small, lengths, count + EXTRA)[1]
    solve, product = factorised(small), _products(matrix)
    for _ in range(5):  # by hand: constant on aggregates, the start has steps between them
        start = product(start)

    def clean(x: np.ndarray) -> np.ndarray:
        return x - known[:, None] * (known @ x)

    def precondition(x: np.ndarray) -> np.ndarray:
        x = clean(x.reshape(n, -1))
        found = x + wide @ solve(wide.T @ product(x))
        return clean(x + product(found))

    def laplacian(x: np.ndarray) -> np.ndarray:
        return x - product(x)

    n = len(known)
    operator = scipy.sparse.linalg.LinearOperator((n, n), laplacian, matmat=laplacian, dtype=np.float64)
    remedy = scipy.sparse.linalg.LinearOperator((n, n), precondition, matmat=precondition, dtype=np.float64)
    return _iterate(operator, start, remedy, known, count, steps, checked)


def _products(matrix: sparse.csr_matrix) -> Solve:
    """Products with blocks of vectors, by torch: SciPy's take one core."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)
        pointers, columns, data = (torch.from_numpy(part) for part in (matrix.indptr, matrix.indices, matrix.data))
        shared = torch.sparse_csr_tensor(pointers, columns, data, matrix.shape, check_invariants=False)
    return lambda x: (shared @ torch.from_numpy(np.ascontiguousarray(x))).numpy()


def _iterate(
    operator, start: np.ndarray, remedy, known: np.ndarray, count: int, steps: int, checked: int
) -> tuple[np.ndarray, np.ndarray]:
    first = np.linalg.qr(start)[0]
    scale = np.sort(np.einsum("nl,nl->l", first, operator @ first))[0]
    vectors = first
    for _ in range(0, steps, checked):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # it cannot know that the extra vectors need not converge
            values, vectors = scipy.sparse.linalg.lobpcg(
                operator, vectors, M=remedy, Y=known[:, None], tol=PRECISION * scale, maxiter=checked, largest=False
            )
        order = np.argsort(values)
        values, vectors = values[order], vectors[:, order]
        wanted = vectors[:, :count]
        if np.linalg.norm(operator @ wanted - wanted * values[:count], axis=0).max() <= PRECISION * scale:
            break
    else:
        warnings.warn(
            f"block iteration ended after {steps} steps with eigenvectors less precise than asked for: "
            "use fewer coordinates",
            stacklevel=2,
        )
    return 1 - values[:count], wanted
