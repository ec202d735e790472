"""Every solver gives the same eigenpairs; the choice follows size and shape; closed forms hold for the sparse ones."""

import numpy as np
import pytest
import scipy.sparse as sparse
import torch
from clouds import circle, cosine, interval, normal, rectangle, same_up_to_sign, sphere, warped

from hf_stitch.manifold import neighbours, spectrum
from hf_stitch.manifold.aggregation import aggregates
from hf_stitch.manifold.diffusion_map import DiffusionMap
from hf_stitch.manifold.graphs import euclidean_graph
from hf_stitch.manifold.local_metric import LocalMetric
from hf_stitch.manifold.spectrum import leading, solver_for

SPARSE = ("lanczos", "shift-invert", "lobpcg")


def kernel(points: torch.Tensor, rule="grown") -> tuple[sparse.csr_matrix, np.ndarray]:
    """The symmetric Markov matrix of a cloud and its constant eigenvector."""
    pairs = neighbours.find_pairs(points, LocalMetric.euclidean(*points.shape), rule).squared
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


@pytest.fixture(params=SPARSE)
def forced(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The sparse engine for small clouds, with one of its solvers."""
    monkeypatch.setattr(neighbours, "DENSE_ROWS", 10)
    monkeypatch.setattr(spectrum, "DENSE_ROWS", 10)
    monkeypatch.setattr(spectrum, "SEPARATOR", 1 if request.param == "lanczos" else 10**9)
    monkeypatch.setattr(spectrum, "FACTORS", 10 if request.param == "lobpcg" else 10**9)
    if request.param == "lobpcg":
        chosen = spectrum.solver_for
        monkeypatch.setattr(spectrum, "solver_for", lambda a, k: "dense" if a.shape[0] < 150 else chosen(a, k))
    return request.param


def plain(points: torch.Tensor, count: int) -> DiffusionMap:
    return DiffusionMap.fit(points, LocalMetric.euclidean(*points.shape), count)


def test_interval_and_its_warp(forced: str) -> None:
    x = interval(400)
    values, jacobian = warped(x)
    for found in (plain(x, 3), DiffusionMap.fit(values, LocalMetric.from_jacobian(jacobian), 3)):
        assert found.solver == forced
        for k in range(1, 4):
            assert same_up_to_sign(found.coordinates[:, k - 1], cosine(x, k)) < 0.02 * k


@pytest.mark.parametrize(
    ("points", "ratios", "tolerance"),
    [
        (circle(400), [1, 1, 4, 4, 9, 9], 0.01),
        (rectangle(60, 30, 2.0, 1.0), [1, 4, 4, 5, 8, 9], 0.06),
        (sphere(1500), [1, 1, 1, 3, 3, 3, 3, 3], 0.09),  # a lattice: few neighbours are not round
    ],
)
def test_closed_forms(forced: str, points: torch.Tensor, ratios: list[float], tolerance: float) -> None:
    found = plain(points, len(ratios))
    assert found.solver == forced
    assert torch.allclose(found.laplace / found.laplace[0], torch.tensor(ratios).double(), rtol=tolerance)


def test_order_of_rows_and_rotation_of_features(forced: str) -> None:
    values, jacobian = warped(interval(300) ** 1.5)
    first = DiffusionMap.fit(values, LocalMetric.from_jacobian(jacobian), 4)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    turn = torch.linalg.qr(normal(2, 2)).Q
    again = DiffusionMap.fit(values[order] @ turn, LocalMetric.from_jacobian(turn.T @ jacobian[order]), 4)
    assert torch.allclose(again.spectrum, first.spectrum, atol=1e-9)
    for k in range(4):
        assert same_up_to_sign(again.coordinates[:, k], first.coordinates[order, k]) < 1e-5


def test_rule_of_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix, _ = kernel(rectangle(40, 20, 2.2, 1.0))
    assert solver_for(matrix, 5) == "dense"
    monkeypatch.setattr(spectrum, "DENSE_ROWS", 10)
    assert solver_for(matrix, 5) == "shift-invert"
    assert solver_for(matrix, 100) == "dense"
    assert solver_for(matrix.toarray(), 5) == "lanczos"
    monkeypatch.setattr(spectrum, "SEPARATOR", 300)
    assert solver_for(matrix, 5) == "shift-invert"
    assert solver_for(kernel(normal(800, 12))[0], 5) == "lanczos"
    monkeypatch.setattr(spectrum, "FACTORS", 500)
    assert solver_for(matrix, 5) == "lobpcg"
    assert solver_for(matrix, 40) == "lanczos"


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
