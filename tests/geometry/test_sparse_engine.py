"""Two observations of a square with more rows than the dense engine takes: Bertalan et al. (2021), section 4.3."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from clouds import interval, normal, observed, square, warped
from scipy.sparse import csr_matrix
from scipy.spatial import cKDTree

from hf_stitch.errors import ManifoldError
from hf_stitch.geometry.alignment.orthogonal import procrustes
from hf_stitch.geometry.diffusion.diffusion_map import DiffusionMap
from hf_stitch.geometry.local_metrics.local_metric import LocalMetric
from hf_stitch.geometry.neighbours.graphs import two_steps
from hf_stitch.geometry.neighbours.neighbour_rules import DENSE_ROWS, find_pairs

ROWS = 6000


@pytest.fixture(scope="module")
def maps() -> list[DiffusionMap]:
    assert ROWS > DENSE_ROWS
    return [DiffusionMap.fit(*observed(square(ROWS), seed), 8) for seed in (10, 20)]


def test_different_observations_have_one_spectrum(maps: list[DiffusionMap]) -> None:
    first, second = maps
    assert first.solver == second.solver == "shift-invert"
    assert torch.allclose(first.laplace[:5], second.laplace[:5], rtol=0.01)
    for one in maps:
        ratios = one.laplace[:5] / one.laplace[0]
        assert torch.allclose(ratios, torch.tensor([1.0, 1, 2, 4, 4]).double(), rtol=0.04)


def test_ten_pairs_align_them(maps: list[DiffusionMap]) -> None:
    a, b = (one.coordinates[:, :5] for one in maps)
    pairs = torch.arange(0, ROWS, ROWS // 10)[:10]
    turned = a @ procrustes(a[pairs], b[pairs]).rotation
    inside = square(ROWS).abs().amax(1) <= 1.2
    assert (turned - b)[inside].norm() < 0.05 * b[inside].norm()


def test_recall_of_the_true_neighbours() -> None:
    x = square(ROWS)
    pairs = find_pairs(*observed(x, 10), "grown").squared
    true = cKDTree(x.numpy()).query(x.numpy(), 11)[1][:, 1:]
    found = np.repeat(np.arange(ROWS), np.diff(pairs.indptr)) * ROWS + pairs.indices
    assert np.isin((np.arange(ROWS)[:, None] * ROWS + true).ravel(), found).mean() > 0.98
    assert abs(pairs - pairs.T).max() < 1e-12
    assert 25 < pairs.nnz / ROWS < 50


def test_rows_keep_their_places(maps: list[DiffusionMap]) -> None:
    """The engine works on the rows in another order; what it gives is in the order of the rows."""
    points, joined = maps[0].points, maps[0].joined
    assert joined is not None
    near = np.repeat(np.arange(ROWS), np.diff(joined.indptr))
    apart = (points[near] - points[joined.indices]).norm(dim=1)
    assert apart.max() < 0.1 * (points.amax(0) - points.amin(0)).norm()


@pytest.mark.parametrize("kind", ["nearest", "nystroem"])
def test_extension_of_fitted_rows_is_their_coordinates(maps: list[DiffusionMap], kind: str) -> None:
    some = slice(0, ROWS, 30)
    assert torch.allclose(maps[0].extend(maps[0].points[some], kind), maps[0].coordinates[some], atol=1e-7)


def test_landmarks_bound_what_is_kept(maps: list[DiffusionMap]) -> None:
    module = maps[0].extension("thin_plate", landmarks=600)
    assert module.get_buffer("centres").shape == (600, 5)
    assert module.loss is not None
    assert module.loss < 0.1


def test_pieces_and_repeated_points() -> None:
    far = torch.cat([square(2500), square(2500) + 50])
    with pytest.raises(ManifoldError, match=r"2 pieces.*more neighbours"):
        DiffusionMap.fit(far, LocalMetric.euclidean(5000, 2), 3)
    with pytest.raises(ManifoldError, match="repeated points"):
        DiffusionMap.fit(square(50).repeat(100, 1), LocalMetric.euclidean(5000, 2), 3)
    twins = torch.cat([square(4500), square(4500)[:500]])
    found = DiffusionMap.fit(twins, LocalMetric.euclidean(5000, 2), 3)
    assert torch.allclose(found.coordinates[:500], found.coordinates[4500:], atol=0.1)


def test_clouds_of_many_dimensions_and_features() -> None:
    found = DiffusionMap.fit(normal(4500, 20), LocalMetric.euclidean(4500, 20), 3)
    assert found.solver == "lanczos"
    values, jacobian = warped(interval(4500))
    line = DiffusionMap.fit(values, LocalMetric.from_jacobian(jacobian), 3)
    assert line.laplace[1] / line.laplace[0] == pytest.approx(4, rel=0.02)


def test_all_pairs_of_large_clouds_are_refused() -> None:
    with pytest.raises(ManifoldError, match=r"at most 20000 rows; got 20001 rows: use neighbours: grown"):
        DiffusionMap.fit(square(20_001), LocalMetric.euclidean(20_001, 2), 3, "all")


def test_hubs_do_not_join_everything() -> None:
    """Two steps through rows that are near to all others would fill the memory."""
    n = 3000
    ring = np.concatenate([np.arange(n), np.arange(1, n)])
    partners = np.concatenate([(np.arange(n) + 1) % n, np.zeros(n - 1, dtype=np.int64)])
    best = csr_matrix((np.ones(len(ring), dtype=np.int32), (ring, partners)), shape=(n, n))
    graph = best + best.T
    graph.data[:] = 1
    assert two_steps(graph, best).nnz < 60 * n < two_steps(graph, graph).nnz


MEMORY = """
from clouds import observed, square
from hf_stitch.runtime.environment import peak_memory
from hf_stitch.geometry.diffusion.diffusion_map import DiffusionMap
found = DiffusionMap.fit(*observed(square(100_000), 10), 10)
assert found.solver == "lobpcg"
print(peak_memory())
"""


@pytest.mark.slow
def test_peak_memory_of_100_000_rows() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEMORY],
        cwd=Path(__file__).parents[1] / "helpers",
        capture_output=True,
        text=True,
        check=True,
    )
    assert math.ceil(int(done.stdout) / 2**30) <= 2  # GB
