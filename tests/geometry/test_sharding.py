"""Rows shared out: every process has the same map as one process alone, whatever engine and solver."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import scipy.sparse as sparse
import torch
from clouds import circle, interval, normal, rectangle, warped
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import together
from solvers import NEVER

from hf_stitch.activations.activation_set import ActivationSet
from hf_stitch.errors import ManifoldError
from hf_stitch.geometry.diffusion.diffusion_map import DiffusionMap
from hf_stitch.geometry.diffusion.engine import TorchEngine
from hf_stitch.geometry.diffusion.kernel import DenseKernel, gaussian
from hf_stitch.geometry.diffusion.spectrum import SolverLimits
from hf_stitch.geometry.local_metrics import mahalanobis
from hf_stitch.geometry.local_metrics.local_metric import LocalMetric
from hf_stitch.geometry.local_metrics.mahalanobis import edge_distances, one_sided, squared_distances
from hf_stitch.geometry.neighbours import graphs, neighbour_rules
from hf_stitch.geometry.neighbours.graphs import two_steps
from hf_stitch.geometry.neighbours.neighbour_rules import Pairs
from hf_stitch.geometry.sparse import components
from hf_stitch.runtime import sharding
from hf_stitch.runtime.sharding import ALONE, LEAST, Rows, entries_in, entries_on
from hf_stitch.stitching.layers.fit_layer import fit_layer


@given(st.integers(1, 9), st.integers(0, 40))
@settings(deadline=None)
def test_spans_are_all_rows_in_order(count: int, n: int) -> None:
    spans = [Rows(i, count).span(n) for i in range(count)]
    assert [row for begin, end in spans for row in range(begin, end)] == list(range(n))
    assert max(end - begin for begin, end in spans) - min(end - begin for begin, end in spans) <= 1


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_parts_make_the_whole(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharding, "BLOCK", 30)
    matrix, graph = normal(11, 11), sparse.random(11, 11, 0.2, "csr", rng=0)

    def work(shared: Rows) -> tuple:
        mine = slice(*shared.span(11))
        return shared.join(matrix.numpy()[mine]), shared.join_graph(graph[mine]), shared.transposed(matrix[mine])

    found = together(count, work)
    for whole, joined, _ in found:
        assert np.array_equal(whole, matrix.numpy())
        assert (joined != graph).nnz == 0
    assert torch.equal(torch.cat([part for *_, part in found]), matrix.T)


def test_an_error_of_the_first_process_reaches_all() -> None:
    def fail() -> list:
        raise ValueError("too steep")

    def work(shared: Rows) -> str:
        with pytest.raises((ValueError, RuntimeError), match="too steep") as error:
            shared.by_first(fail)
        with pytest.raises((ValueError, RuntimeError), match="too steep"):
            shared.driven(lambda x: x, lambda product: [product(np.ones(2)), *fail()])
        return type(error.value).__name__

    assert together(3, work) == ["ValueError", "RuntimeError", "RuntimeError"]


def close(one: DiffusionMap, other: DiffusionMap) -> None:
    """Eigenvalues to 1e-8, projectors onto whole eigenspaces to 1e-5."""
    assert (one.solver, one.rounds) == (other.solver, other.rounds)
    assert one.bandwidth == pytest.approx(other.bandwidth, rel=1e-12)
    assert torch.allclose(one.spectrum, other.spectrum, rtol=0, atol=1e-8)
    assert torch.allclose(one.log_density, other.log_density, rtol=0, atol=1e-10)
    whole = (one.spectrum - one.spectrum[-1]).abs() > 1e-6
    a, b = (found.coordinates[:, whole] / len(found.points) ** 0.5 for found in (one, other))
    assert torch.linalg.matrix_norm(a @ a.T - b @ b.T, 2) < 1e-5


CLOUDS = {
    "line": lambda: (warped(interval(400))[0], LocalMetric.from_jacobian(warped(interval(400))[1], eta=0.1)),
    "plate": lambda: (rectangle(25, 16, 2.2, 1.0), LocalMetric.euclidean(400, 2)),
    "cloud": lambda: (normal(300, 20), LocalMetric.euclidean(300, 20)),
}


@pytest.mark.parametrize("rule", ["all", "grown", 12])
@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize("count", [2, 3])
def test_maps_of_few_rows(count: int, cloud: str, rule: neighbour_rules.Rule) -> None:
    points, metric = CLOUDS[cloud]()
    alone = DiffusionMap.fit(points, metric, 9, rule)
    for found in together(count, lambda shared: DiffusionMap.fit(points, metric, 9, rule, rows=shared)):
        close(alone, found)


@pytest.mark.parametrize("solver", ["lanczos", "shift-invert", "lobpcg", "lanczos-all"])
@pytest.mark.parametrize("count", [2, 3])
def test_solvers_of_many_rows(count: int, solver: str) -> None:
    limits = SolverLimits(60, 60, 1 if solver == "lanczos" else NEVER, 60 if solver == "lobpcg" else NEVER)
    fit = partial(DiffusionMap.fit, engine=TorchEngine(limits), table_rows=60)
    points, metric = CLOUDS["line"]()
    rule: neighbour_rules.Rule = "all" if solver == "lanczos-all" else "grown"
    alone = fit(points, metric, 6, rule)
    assert alone.solver == solver.removesuffix("-all")
    maps = together(count, lambda shared: fit(points, metric, 6, rule, rows=shared))
    for found in maps:
        close(alone, found)
        assert torch.equal(found.coordinates, maps[0].coordinates)


def test_hubs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "HUBS", 1)
    points, metric = CLOUDS["cloud"]()
    alone = neighbour_rules.find_pairs(points, metric, "grown").squared
    for found in together(3, lambda shared: neighbour_rules.find_pairs(points, metric, "grown", shared)):
        assert abs(found.squared - alone).max() < 1e-12
    graph = graphs.euclidean_graph(points, 3)
    assert (two_steps(graph, graph) != together(2, lambda shared: two_steps(graph, graph, shared))[1]).nnz == 0


def test_refusals_reach_all_processes() -> None:
    pieces = torch.cat([circle(40), circle(40) + 100, circle(40) + 300])
    repeated = normal(5, 2).repeat(20, 1)

    def work(shared: Rows) -> None:
        for rule in ("all", "grown"):
            with pytest.raises(ManifoldError, match="3 pieces"):
                DiffusionMap.fit(pieces, LocalMetric.euclidean(120, 2), 2, rule, rows=shared)
            with pytest.raises(ManifoldError, match="repeated points"):
                DiffusionMap.fit(repeated, LocalMetric.euclidean(100, 2), 2, rule, rows=shared)

    together(2, work)


@given(st.integers(1, 40), st.integers(0, 60), st.integers(0, 5))
@settings(deadline=None, max_examples=40)
def test_pieces_of_a_dense_kernel(n: int, edges: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    ends = generator.integers(0, n, (2, edges))
    graph = sparse.csr_matrix((np.ones(edges), ends), shape=(n, n))
    matrix = (graph + graph.T + sparse.identity(n)).toarray()
    count, own = components(sparse.csr_matrix(matrix)), torch.from_numpy(matrix)
    assert DenseKernel(own).components() == count
    assert together(2, lambda shared: DenseKernel(own[slice(*shared.span(n))], shared).components()) == [count] * 2


def test_a_layer_of_two_processes() -> None:
    points, metric = CLOUDS["line"]()
    x = torch.arange(len(points))
    keys = torch.stack([x, torch.zeros_like(x)], 1)
    source, target = ActivationSet(points, keys, metric), ActivationSet(points.flip(1) ** 3, keys)
    options = {"coordinates": 5, "neighbours": "all"}

    def work(shared: Rows) -> torch.Tensor:
        return fit_layer("diffusion", source, target, options=options, rows=shared)(points[::7] + 0.001)

    alone = work(ALONE)
    for found in together(2, work):
        assert torch.allclose(found, alone, rtol=0, atol=1e-6)


# blocks and devices


def test_blocks_follow_the_free_memory() -> None:
    assert entries_on(torch.device("cpu")) == sharding.BLOCK
    assert entries_in(0) == entries_in(1000) == LEAST
    assert entries_in(16 << 30) == (16 << 30) // 64
    assert entries_in(16 << 30, 4) == 2 * entries_in(16 << 30)


@pytest.mark.parametrize("entries", [1, 977, 1 << 30])
def test_blocks_change_nothing(entries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    points, metric = CLOUDS["line"]()
    graph = graphs.euclidean_graph(points, 5)
    wide = normal(150, 20)
    wanted = squared_distances(points, metric), edge_distances(points, metric, graph), graphs.euclidean_graph(wide, 4)
    for part in (mahalanobis, graphs):
        monkeypatch.setattr(part, "entries_on", lambda device: entries)
    assert torch.allclose(squared_distances(points, metric), wanted[0], rtol=1e-12)
    assert np.allclose(edge_distances(points, metric, graph), wanted[1], rtol=1e-12)
    assert (graphs.euclidean_graph(wide, 4) != wanted[2]).nnz == 0


@pytest.mark.parametrize("sign", [1, -1])
def test_blocks_are_made_on_the_device_that_is_asked_for(sign: int) -> None:
    """Tensors without numbers, in the place of a GPU's, show that all meet on the one device."""
    device, n = torch.device("meta"), 40
    shared = Rows(device=device)
    metric = LocalMetric(torch.full((n,), (1 - sign) / 2), normal(n, 2, 3).float(), sign)  # type: ignore[arg-type]
    assert one_sided(normal(n, 3), metric, rows=Rows(1, 4, device)).shape == (10, n)
    squared = squared_distances(normal(n, 3), metric, rows=shared)
    kernel = gaussian(Pairs(squared, shared), 0.5)
    assert isinstance(kernel, DenseKernel)
    scaled = kernel.scaled(np.ones(n)).own
    assert (scaled.device, scaled.dtype, scaled.shape) == (device, torch.float64, (n, n))
    assert metric.to(device).factors.device == device
