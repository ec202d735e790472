"""Closed forms, invariances and laws of the diffusion map; every refusal."""

import math

import numpy as np
import pytest
import torch
from clouds import circle, cosine, interval, normal, rectangle, same_up_to_sign, sphere, warped

from hf_stitch.errors import FitError, ManifoldError
from hf_stitch.geometry.diffusion.diffusion_map import DiffusionMap
from hf_stitch.geometry.local_metrics.local_metric import LocalMetric


def euclidean(points: torch.Tensor, count: int, rule="grown") -> DiffusionMap:
    return DiffusionMap.fit(points, LocalMetric.euclidean(*points.shape), count, rule)


@pytest.mark.parametrize("rule", ["all", "grown", 20])
def test_interval(rule) -> None:
    x = interval(400)
    found = euclidean(x, 5, rule)
    for k in range(1, 4):
        assert same_up_to_sign(found.coordinates[:, k - 1], cosine(x, k)) < 0.02 * k
    ratios = found.laplace / found.laplace[0]
    assert torch.allclose(ratios, torch.tensor([1.0, 4, 9, 16, 25], dtype=torch.float64), rtol=0.02)
    if rule == "all":
        assert float(found.laplace[0]) == pytest.approx(math.pi**2, rel=0.05)


def test_rectangle_has_the_products() -> None:
    found = euclidean(rectangle(40, 20, 2.0, 1.0), 6, "all")
    ratios = found.laplace / found.laplace[0]
    assert torch.allclose(ratios, torch.tensor([1.0, 4, 4, 5, 8, 9], dtype=torch.float64), rtol=0.06)


def test_sphere_has_multiplicities_3_and_5() -> None:
    found = euclidean(sphere(1000), 9, "all")
    ratios = found.laplace / found.laplace[0]
    wanted = torch.tensor([1.0] * 3 + [3.0] * 5, dtype=torch.float64)
    assert torch.allclose(ratios[:8], wanted, rtol=0.05)
    assert ratios[8] > 5


def test_same_input_same_bytes() -> None:
    points = normal(100, 3)
    first, second = euclidean(points, 5), euclidean(points, 5)
    assert torch.equal(first.coordinates, second.coordinates)
    assert torch.equal(first.spectrum, second.spectrum)


@pytest.mark.parametrize("kind", ["nearest", "nystroem", "thin_plate"])
@pytest.mark.parametrize("rule", ["all", "grown"])
@pytest.mark.parametrize("eta", [None, 0.1])
def test_extension_of_fitted_rows_is_their_coordinates(kind: str, rule: str, eta: float | None) -> None:
    values, jacobian = warped(interval(150))
    found = DiffusionMap.fit(values, LocalMetric.from_jacobian(jacobian, eta=eta), 5, rule)
    assert torch.allclose(found.extend(values, kind), found.coordinates, atol=1e-9)


def test_nystroem_between_rows() -> None:
    x = interval(300)
    found = euclidean(x, 3, "all")
    between = (x[40:-40] + x[41:-39]) / 2
    middle = (found.coordinates[40:-40] + found.coordinates[41:-39]) / 2
    assert torch.allclose(found.extend(between, "nystroem"), middle, atol=2e-3)


def test_scale_and_paper_eigenvalues() -> None:
    found = euclidean(circle(200), 4)
    assert torch.allclose(found.coordinates.square().mean(0), torch.ones(4, dtype=torch.float64), rtol=1e-6)
    assert torch.allclose(found.eigenvalues, found.spectrum ** (1 / (2 * found.bandwidth)))
    assert torch.allclose(found.laplace, -8 * found.eigenvalues.log())
    assert found.solver == "dense"
    assert found.take(torch.tensor([2])).coordinates.shape == (200, 1)


def two_pieces() -> torch.Tensor:
    return torch.cat([circle(40), circle(40) + 100])


@pytest.mark.parametrize(
    ("points", "count", "options", "message"),
    [
        (two_pieces(), 2, {}, "2 pieces.*neighbours: all"),
        (two_pieces(), 2, {"neighbours": "all"}, "larger bandwidth"),
        (normal(5, 2).repeat(20, 1), 2, {}, "sides: source"),
        (normal(5, 2).repeat(20, 1), 2, {"neighbours": "all"}, "repeated points"),
        (torch.ones(30, 2), 2, {}, "identical"),
        (normal(2, 2), 1, {}, "at least three rows"),
        (normal(9, 2), 9, {}, "1 to 8 coordinates"),
        (normal(9, 2), 0, {}, "1 to 8 coordinates"),
        (normal(9, 2).log(), 2, {}, "NaN"),
        (normal(9, 2), 2, {"bandwidth": 0.0}, "bandwidth"),
    ],
)
def test_refusals(points: torch.Tensor, count: int, options: dict, message: str) -> None:
    with pytest.raises(ManifoldError, match=message):
        DiffusionMap.fit(points, LocalMetric.euclidean(*points.shape), count, **options)


def test_more_refusals() -> None:
    points = normal(30, 2)
    with pytest.raises(ManifoldError, match="as many metrics"):
        DiffusionMap.fit(points, LocalMetric.euclidean(29, 2), 2)
    found = euclidean(points, 29, "all")
    with pytest.raises(ManifoldError, match="are above"):
        found.extend(points, "nystroem")
    with pytest.raises(FitError, match="2 features"):
        found.extend(normal(3, 4))
    with pytest.raises(FitError, match="did you mean 'nearest'"):
        found.extend(points, "nearst")


def test_duplicates_and_constant_features_are_harmless() -> None:
    points = torch.cat([circle(100), circle(100)[:5]])
    points = torch.cat([points, torch.ones(105, 1, dtype=torch.float64)], 1)
    for rule, tolerance in (("all", 1e-9), ("grown", 0.1)):  # of equally near partners, grown keeps the first
        found = euclidean(points, 3, rule)
        assert torch.allclose(found.coordinates[:5], found.coordinates[100:], atol=tolerance)
    assert np.isfinite(found.extend(points).numpy()).all()
