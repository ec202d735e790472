"""Closed forms and laws of diffusion maps, for every solver of ours and for the engine datafold."""

import math

import pytest
import torch
from clouds import circle, cosine, generator, interval, normal, rectangle, same_up_to_sign, sphere, warped
from solvers import SOLVERS, fit
from torch import Tensor

from hf_stitch.geometry.diffusion.harmonics import harmonic_residuals
from hf_stitch.geometry.local_metrics.local_metric import LocalMetric


@pytest.fixture(params=SOLVERS)
def solver(request: pytest.FixtureRequest) -> str:
    return request.param


def outside(space: Tensor, functions: Tensor) -> float:
    """Share of the functions (n, k) that lies outside of the space spanned by the columns (n, l)."""
    basis = torch.linalg.qr(space).Q
    return float((functions - basis @ (basis.T @ functions)).norm() / functions.norm())


def close(found: Tensor, wanted: list[float], tolerance: float) -> bool:
    return torch.allclose(found, torch.tensor(wanted, dtype=torch.float64), rtol=tolerance)


def test_interval(solver: str) -> None:
    x = interval(400)
    found = fit(solver, x, 5)
    for k in range(1, 6):
        assert same_up_to_sign(found.coordinates[:, k - 1], cosine(x, k)) < 0.02 * k
    assert close(found.laplace / found.laplace[0], [1, 4, 9, 16, 25], 0.02)


def test_mahalanobis_sees_through_a_warp(solver: str) -> None:
    x = interval(400)
    values, jacobian = warped(x)
    seen, plain = fit(solver, values, 3, LocalMetric.from_jacobian(jacobian)), fit(solver, values, 3)
    for k in range(1, 4):
        assert same_up_to_sign(seen.coordinates[:, k - 1], cosine(x, k)) < 0.02 * k
        assert same_up_to_sign(plain.coordinates[:, k - 1], cosine(x, k)) > 0.3
    assert close(seen.laplace, fit(solver, x, 3).laplace.tolist(), 0.01)


def test_circle_has_pairs_of_sines(solver: str) -> None:
    points = circle(400)
    found = fit(solver, points, 6)
    assert close(found.laplace / found.laplace[0], [1, 1, 4, 4, 9, 9], 0.01)
    for k in range(3):
        angle = (k + 1) * torch.atan2(points[:, 1], points[:, 0])
        assert outside(found.coordinates[:, 2 * k : 2 * k + 2], torch.stack([angle.cos(), angle.sin()], 1)) < 1e-5


def test_rectangle_has_the_products_of_cosines(solver: str) -> None:
    width = 1.7
    points = rectangle(51, 30, width, 1.0)
    found = fit(solver, points, 4)
    modes = [(1, 0), (0, 1), (1, 1), (2, 0)]
    wanted = [(i / width) ** 2 + j**2 for i, j in modes]
    assert close(found.laplace / found.laplace[0], [value / wanted[0] for value in wanted], 0.05)
    for k, (i, j) in enumerate(modes):
        product = torch.cos(i * math.pi * points[:, 0] / width) * torch.cos(j * math.pi * points[:, 1])
        assert outside(found.coordinates[:, k : k + 1], product[:, None]) < 0.05
    residuals = harmonic_residuals(found.coordinates)
    assert (residuals[:2] > 0.9).all()
    assert (residuals[2:] < 0.3).all()


def test_equal_eigenvalues_of_a_rectangle_of_two_squares(solver: str) -> None:
    found = fit(solver, rectangle(60, 30, 2.0, 1.0), 6)
    assert close(found.laplace / found.laplace[0], [1, 4, 4, 5, 8, 9], 0.06)


def test_sphere_has_multiplicities_3_and_5(solver: str) -> None:
    points = sphere(1500)
    found = fit(solver, points, 9)
    ratios = found.laplace / found.laplace[0]
    assert close(ratios[:8], [1] * 3 + [3] * 5, 0.09)  # a lattice: few neighbours are not round
    assert ratios[8] > 5
    x, y, z = points.unbind(1)
    quadratic = torch.stack([x * y, y * z, z * x, x**2 - y**2, 3 * z**2 - 1], 1)
    assert outside(found.coordinates[:, :3], points) < 0.06
    assert outside(found.coordinates[:, 3:8], quadratic) < 0.08


def bent(point: Tensor) -> Tensor:
    """An observation (4,) of a point (2,) that bends and stretches."""
    u, v = point
    return torch.stack([torch.exp(0.6 * u), u + v**2, torch.sin(1.5 * v), u * v])


def test_an_observation_does_not_matter(solver: str) -> None:
    """A cloud and its image under a diffeomorphism have one map, where the metric is Mahalanobis."""
    x = torch.rand(1500, 2, generator=generator(), dtype=torch.float64) * torch.tensor([1.7, 1.0])
    values = torch.func.vmap(bent)(x)
    metric = LocalMetric.from_jacobian(torch.func.vmap(torch.func.jacfwd(bent))(x))
    plain, seen, euclidean = fit(solver, x, 4), fit(solver, values, 4, metric), fit(solver, values, 4)
    assert close(seen.laplace, plain.laplace.tolist(), 0.025)
    assert outside(seen.coordinates, plain.coordinates) < 0.06
    assert outside(euclidean.coordinates, plain.coordinates) > 0.2


@pytest.mark.parametrize("kind", ["nearest", "nystroem", "thin_plate"])
def test_extension_of_fitted_rows_is_their_coordinates(solver: str, kind: str) -> None:
    values, jacobian = warped(interval(200))
    found = fit(solver, values, 5, LocalMetric.from_jacobian(jacobian))
    tolerance = 1e-7 if kind == "nystroem" else 1e-9  # divided by the eigenvalue, the solver's own error shows
    assert torch.allclose(found.extend(values, kind), found.coordinates, atol=tolerance)


def test_order_of_rows_and_rotation_of_features_do_not_matter(solver: str) -> None:
    values, jacobian = warped(interval(300) ** 1.5)
    first = fit(solver, values, 4, LocalMetric.from_jacobian(jacobian))
    order = torch.randperm(300, generator=generator())
    turn = torch.linalg.qr(normal(2, 2)).Q
    for rows, tangents, back in (
        (values[order], jacobian[order], order),
        (values @ turn, turn.T @ jacobian, torch.arange(300)),
        (values + 100, jacobian, torch.arange(300)),
    ):
        again = fit(solver, rows, 4, LocalMetric.from_jacobian(tangents))
        assert torch.allclose(again.spectrum, first.spectrum, atol=1e-9)
        for k in range(4):
            assert same_up_to_sign(again.coordinates[:, k], first.coordinates[back, k]) < 1e-5
