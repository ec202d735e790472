"""Every solver gives the same eigenpairs; the choice follows size and shape."""

import numpy as np
import pytest
import scipy.sparse as sparse
import torch
from clouds import circle, normal, rectangle, sphere
from scipy.sparse.linalg import splu

from hf_stitch.geometry.diffusion.aggregation import Solve, aggregates, block_iteration
from hf_stitch.geometry.diffusion.spectrum import SolverLimits, leading, solver_for
from hf_stitch.geometry.local_metrics.local_metric import LocalMetric
from hf_stitch.geometry.neighbours import neighbour_rules
from hf_stitch.geometry.neighbours.graphs import euclidean_graph

SPARSE = ("lanczos", "shift-invert", "lobpcg")


def kernel(points: torch.Tensor, rule="grown") -> tuple[sparse.csr_matrix, np.ndarray]:
    """The symmetric Markov matrix of a cloud and its constant eigenvector."""
    pairs = neighbour_rules.find_pairs(points, LocalMetric.euclidean(*points.shape), rule).squared
    weights = pairs.copy()
    weights.data = np.exp(-weights.data / (2 * np.median(weights.data)))
    weights = sparse.csr_matrix(weights + sparse.identity(len(points)))
    root = np.sqrt(np.asarray(weights.sum(1)).ravel())
    scale = sparse.diags(1 / root)
    return sparse.csr_matrix(scale @ weights @ scale), root / np.linalg.norm(root)


@pytest.mark.parametrize("solver", SPARSE)
@pytest.mark.parametrize("points", [circle(500), rectangle(40, 20, 2.2, 1.0), sphere(900)])
def test_solvers_agree_on_eigenvalues_and_eigenspaces(solver: str, points: torch.Tensor) -> None:
    matrix, known = kernel(points)
    values, vectors = leading(matrix, known, 8, "dense")
    found, mine = leading(matrix, known, 8, solver)
    assert np.allclose(found, values, atol=1e-9)
    assert np.abs(known @ mine).max() < 1e-8
    assert np.allclose(mine.T @ mine, np.eye(8), atol=1e-8)
    assert np.abs(matrix @ mine - mine * found).max() < 1e-5
    # Whole eigenspaces only: the last one may be cut by the count.
    whole = np.flatnonzero(np.abs(values - values[-1]) > 1e-6)
    assert np.linalg.norm(vectors[:, whole] - mine @ (mine.T @ vectors[:, whole])) < 1e-5


def test_rule_of_choice() -> None:
    matrix, _ = kernel(rectangle(40, 20, 2.2, 1.0))
    assert solver_for(matrix, 5) == "shift-invert"
    assert solver_for(matrix, 100) == solver_for(matrix.toarray(), 5) == "dense"
    assert solver_for(kernel(rectangle(20, 10, 2.2, 1.0))[0], 5) == "dense"
    assert solver_for(matrix.toarray(), 5, SolverLimits(dense_rows=10)) == "lanczos"
    assert solver_for(matrix, 5, SolverLimits(separator=300)) == "shift-invert"
    assert solver_for(kernel(normal(800, 12))[0], 5, SolverLimits(separator=300)) == "lanczos"
    few = SolverLimits(separator=300, factors=500)
    assert solver_for(matrix, 5, few) == "lobpcg"
    assert solver_for(matrix, 40, few) == "lanczos"


def test_aggregates_partition_the_rows() -> None:
    matrix, _ = kernel(sphere(500))
    joined = aggregates(matrix)
    assert (np.diff(joined.indptr) == 1).all()
    sizes = np.asarray(joined.sum(0)).ravel()
    assert sizes.min() >= 1
    assert 10 < joined.shape[1] < 100
    # Every row is its aggregate's root or a neighbour of it.
    assert ((joined.T @ matrix @ joined).diagonal() > 0).all()


def test_graph_of_one_point_per_row_survives_twins() -> None:
    points = torch.cat([normal(30, 2), normal(1, 2).repeat(25, 1)])
    graph = euclidean_graph(points, 5)
    assert graph.diagonal().sum() == 0
    assert (np.diff(graph.indptr) >= 5).all()


def test_block_iteration_that_ends_too_early_is_told() -> None:
    matrix, known = kernel(rectangle(40, 20, 2.2, 1.0))

    def factorised(small: sparse.csr_matrix) -> Solve:
        return splu(sparse.csc_matrix((1 + 1e-5) * sparse.identity(small.shape[0]) - small)).solve

    values, _ = block_iteration(matrix, known, 5, leading, factorised)
    assert np.allclose(np.sort(values)[::-1], leading(matrix, known, 5, "dense")[0], atol=1e-9)
    with pytest.warns(UserWarning, match="block iteration ended after 1 steps"):
        block_iteration(matrix, known, 5, leading, factorised, steps=1, checked=1)
