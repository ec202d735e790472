"""Two maps are aligned with no pair known, where the cloud itself decides."""

import pytest
import torch
from clouds import circle, interval, normal

from hf_stitch.errors import FitError
from hf_stitch.geometry.alignment.closest_points import closest_points
from hf_stitch.geometry.diffusion.diffusion_map import DiffusionMap
from hf_stitch.geometry.local_metrics.local_metric import LocalMetric


def mapped(points: torch.Tensor, count: int) -> DiffusionMap:
    return DiffusionMap.fit(points, LocalMetric.euclidean(*points.shape), count)


def uneven(n: int, seed: int) -> torch.Tensor:
    """A sample of a quarter of an annulus that widens: no mirror image of itself."""
    u = torch.rand(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    angle, radius = 2.2 * u[:, 0], 1 + (0.2 + 0.5 * u[:, 0]) * u[:, 1]
    return torch.stack([radius * angle.cos(), radius * angle.sin()], 1)


def test_different_samples_of_one_cloud() -> None:
    first, second = mapped(uneven(900, 0), 6), mapped(uneven(900, 1), 6)
    found = closest_points(first.coordinates, second.coordinates, first.laplace)
    # The same places seen by the second map.
    there = second.extend(uneven(900, 0))
    error = (first.coordinates @ found.rotation - there).norm() / there.norm()
    flipped = (first.coordinates @ -found.rotation - there).norm() / there.norm()
    assert error < 0.3 < flipped
    assert found.residual < 0.3
    assert found.margin > 1.2
    assert torch.allclose(found.rotation.T @ found.rotation, torch.eye(6, dtype=torch.float64), atol=1e-10)


def test_turned_planes_and_signs_are_found() -> None:
    """Rows in another order, equal eigenvalues turned, simple ones flipped."""
    eigenvalues = torch.tensor([1.0, 1.01, 2, 4, 9, 16, 25, 36, 49, 64], dtype=torch.float64)
    a = normal(500, 10) ** 2 * torch.linspace(2, 1, 10) + 0.3 * normal(500, 10, seed=1)
    turn = torch.diag(torch.tensor([1.0, 1, -1, 1, -1, -1, 1, -1, -1, 1], dtype=torch.float64))
    turn[:2, :2] = torch.linalg.qr(normal(2, 2)).Q
    b = (a @ turn)[torch.randperm(500, generator=torch.Generator().manual_seed(0))]
    found = closest_points(a, b, eigenvalues)
    assert torch.allclose(found.rotation, turn, atol=1e-8)
    assert found.residual < 1e-8
    assert found.kind == "closest_points"


def test_symmetric_clouds_say_that_they_do_not_decide() -> None:
    once = mapped(interval(300), 3)
    found = closest_points(once.coordinates, once.coordinates, once.laplace)
    assert found.residual < 1e-6
    assert (found.rotation.abs() - torch.eye(3)).abs().max() < 1e-6
    around = mapped(circle(300), 4)
    turned = closest_points(around.coordinates, around.coordinates, around.laplace)
    assert turned.residual < 0.02


def test_refusals() -> None:
    for a, b in ((normal(3, 2), normal(4, 3)), (normal(0, 2), normal(4, 2)), (normal(3), normal(3))):
        with pytest.raises(FitError, match="closest points take two sets"):
            closest_points(a, b, torch.arange(2.0))
