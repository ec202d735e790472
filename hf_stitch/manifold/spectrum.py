"""Leading eigenpairs of a symmetric Markov kernel, apart from the constant one that is known."""

from __future__ import annotations

import numpy as np
import scipy.linalg
import scipy.sparse as sparse
import scipy.sparse.linalg

DENSE_ROWS = 3000  # below, the dense solver is quicker whatever is asked for
DENSE_SHARE = 0.1  # above this share of all eigenpairs too


def solver_for(rows: int, count: int) -> str:
    """`dense` (LAPACK, relatively robust representations) or `lanczos` (ARPACK), by size alone."""
    return "dense" if rows <= DENSE_ROWS or count > DENSE_SHARE * rows else "lanczos"


def leading(matrix: np.ndarray | sparse.csr_matrix, known: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The `count` largest eigenvalues, descending, and eigenvectors (n, count) orthogonal to `known`.

    `known` (n,) is the unit eigenvector of eigenvalue 1. It is moved to -2, so that nearly disconnected clouds, which
    have more eigenvalues near 1, cannot mix it into the others.
    """
    n = len(known)
    if solver_for(n, count) == "dense":
        full = np.array(matrix) if isinstance(matrix, np.ndarray) else matrix.toarray()
        full -= 3.0 * np.outer(known, known)
        values, vectors = scipy.linalg.eigh(full, subset_by_index=[n - count, n - 1], overwrite_a=True)
    else:
        operator = scipy.sparse.linalg.LinearOperator(
            (n, n), matvec=lambda x: matrix @ x - 3.0 * known * (known @ x), dtype=np.float64
        )
        start = np.random.default_rng(0).standard_normal(n)
        steps = min(n - 1, max(2 * count + 1, 40))
        values, vectors = scipy.sparse.linalg.eigsh(operator, count, which="LA", v0=start, ncv=steps)
    order = np.argsort(-values, kind="stable")
    values, vectors = values[order], vectors[:, order]
    return values, vectors * signs(vectors)


def signs(vectors: np.ndarray) -> np.ndarray:
    """(l,) of +1 and -1: makes the third moment positive, or the first largest entry where a vector has none.

    The third moment does not depend on the order of rows.
    """
    skew = (vectors**3).sum(0)
    large = np.abs(vectors)
    first = (large >= (1 - 1e-6) * large.max(0)).argmax(0)
    entry = vectors[first, np.arange(vectors.shape[1])]
    return np.where(np.abs(skew) > 1e-6 * (large**3).sum(0), np.sign(skew), np.sign(entry))
