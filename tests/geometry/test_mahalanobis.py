"""Distances against their definition, near pairs, and the neighbour rules."""

import numpy as np
import pytest
import torch
from clouds import circle, forms, normal
from scipy.sparse import csr_matrix

from hf_stitch.errors import ManifoldError
from hf_stitch.geometry.distances import squared_differences
from hf_stitch.geometry.local_metrics.local_metric import LocalMetric
from hf_stitch.geometry.local_metrics.mahalanobis import block_entries, edge_distances, one_sided, squared_distances
from hf_stitch.geometry.neighbours.neighbour_rules import find_pairs


@pytest.mark.parametrize("eta", [None, 0.1])
def test_definition(eta: float | None) -> None:
    points = normal(20, 6)
    metric = LocalMetric.from_jacobian(normal(20, 6, 3, seed=1), eta=eta)
    form = forms(metric)
    steps = points[:, None] - points
    wanted = torch.einsum("ijm,ijmn,ijn->ij", steps, form[:, None] + form[None], steps)
    assert torch.allclose(squared_distances(points, metric), wanted, rtol=1e-9)
    graph = csr_matrix(np.triu(np.ones((20, 20)), -3) - np.eye(20))
    single = one_sided(points, metric).numpy()[graph.nonzero()]
    assert np.allclose(edge_distances(points, metric, graph), single)


def test_near_pairs_keep_their_digits() -> None:
    points = 1000 + normal(1, 6) + torch.zeros(4, 6, dtype=torch.float64)
    step = torch.tensor([0, 1, 2, 3], dtype=torch.float64)[:, None] * 2.0**-20
    metric = LocalMetric.from_jacobian(normal(1, 6, 6, seed=1).expand(4, 6, 6))
    found = squared_distances(points + step, metric) / 2.0**-40
    unit = squared_distances(torch.arange(4.0)[:, None].expand(4, 6).double(), metric)
    assert torch.allclose(found, unit, rtol=1e-6)


def test_single_precision_keeps_near_pairs() -> None:
    x = torch.rand(1500, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    slopes = normal(2, 40, seed=1)
    points = torch.tanh(x @ slopes).float()
    metric = LocalMetric.from_jacobian(((1 - points.double() ** 2)[:, None] * slopes).mT)
    single = LocalMetric(metric.scale, metric.factors.float(), 1)
    exact = squared_distances(points.double(), LocalMetric(metric.scale, single.factors.double(), 1))
    found = squared_distances(points, single)
    assert found.dtype == torch.float32
    near = exact.fill_diagonal_(torch.inf).topk(10, largest=False)
    error = (found.gather(1, near.indices).double() / near.values - 1).abs()
    assert error.median() < 1e-5
    assert error.quantile(0.99) < 2e-4


@pytest.mark.parametrize("eta", [None, 0.1])
@pytest.mark.parametrize("block", [1, 37, 1000])
def test_blocks_change_nothing(block: int, eta: float | None) -> None:
    points, metric = normal(31, 6), LocalMetric.from_jacobian(normal(31, 6, 3, seed=1), eta=eta)
    whole = squared_distances(points, metric)
    assert torch.allclose(squared_distances(points, metric, block, tile=7), whole, rtol=1e-12)
    assert torch.equal(whole, whole.T)


def test_blocks_fit_the_memory() -> None:
    assert block_entries(4) == 2 * block_entries(8)
    assert 8 * block_entries(8, free=1 << 30) == 1 << 28
    assert block_entries(8, free=0) == 1


def test_grown_neighbours_do_not_jump_across() -> None:
    """Opposite points of a circle differ across their tangents: the linearised distance is 0, the true one is not."""
    points = circle(400)
    tangent = torch.stack([-points[:, 1], points[:, 0]], 1)[:, :, None]
    metric = LocalMetric.from_jacobian(tangent)
    everything = find_pairs(points, metric, "all")
    assert isinstance(everything.squared, torch.Tensor)
    assert everything.squared[0, 200] < 1e-20
    pairs = find_pairs(points, metric, "grown")
    rows, columns = pairs.squared.nonzero()
    apart = np.abs(rows - columns)
    assert np.minimum(apart, 400 - apart).max() < 40
    assert np.allclose(everything.squared[rows, columns], np.asarray(pairs.squared[rows, columns]).ravel())


def test_rules_agree_on_pairs_they_share() -> None:
    points = circle(300)
    metric = LocalMetric.euclidean(300, 2)
    dense = find_pairs(points, metric, "grown")
    sparse = find_pairs(points, metric, "grown", table_rows=10)
    assert np.array_equal(dense.squared.indices, sparse.squared.indices)
    assert np.allclose(dense.squared.data, sparse.squared.data, rtol=1e-9)
    few = find_pairs(points, metric, 4)
    assert (np.diff(few.squared.indptr) == 4).all()
    assert np.allclose(few.nearest(2), 2 * (2 * np.sin(np.pi / 300)) ** 2)


@pytest.mark.parametrize("rule", ["near", 0, 300, True])
def test_unknown_rules(rule) -> None:
    with pytest.raises(ManifoldError, match="expected grown, all or a number"):
        find_pairs(circle(300), LocalMetric.euclidean(300, 2), rule)


@pytest.mark.parametrize("features", [3, 200])
@pytest.mark.parametrize("away", [0.0, 1e-5, 1e-9])
def test_near_rows_of_any_width_keep_their_digits(features: int, away: float) -> None:
    points = normal(40, features)
    points[::2] = points[1::2] + away * normal(20, features, seed=2)
    points[-1] = points[-2]
    wanted = (points[:, None] - points).square().sum(2)
    found = squared_differences(points, points)
    assert torch.allclose(found, wanted, rtol=1e-11, atol=0)
    assert not found.diagonal().any()
    rows = points[:3].clone().requires_grad_(True)
    squared_differences(rows, points[3:]).sum().backward()
    assert rows.grad is not None
    assert torch.allclose(rows.grad, 2 * (rows[:, None] - points[3:]).sum(1))
