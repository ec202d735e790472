"""Interpolators against SciPy and against themselves at their own points."""

import numpy as np
import pytest
import torch
from clouds import interval, normal
from scipy.interpolate import RBFInterpolator

from hf_stitch.errors import FitError
from hf_stitch.geometry.distances import nearest_rows
from hf_stitch.geometry.interpolation.fit_interpolator import interpolator
from hf_stitch.geometry.interpolation.interpolator import INTERPOLATORS
from hf_stitch.geometry.interpolation.thin_plate import ThinPlate
from hf_stitch.runtime.sharding import BLOCK


def problem(n: int = 120, m: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    points = 5 + 3 * normal(n, m)
    return points, torch.stack([points[:, 0].sin(), points.sum(1), torch.ones(n, dtype=torch.float64)], 1)


@pytest.mark.parametrize("smoothing", [0.0, 1e-3, 1.0])
@pytest.mark.parametrize("m", [1, 3, 30])
def test_thin_plate_is_scipys(smoothing: float, m: int) -> None:
    points, values = problem(m=m)
    spline = ThinPlate.fit(points, values, smoothing)
    scale, shift = (points - points.mean(0)).square().mean().sqrt(), points.mean(0)

    def scaled(x: torch.Tensor) -> np.ndarray:
        return ((x - shift) / scale).numpy()

    scipys = RBFInterpolator(scaled(points), values.numpy(), kernel="thin_plate_spline", smoothing=smoothing)
    new = 5 + 3 * normal(50, m, seed=1)
    assert np.allclose(spline(new).numpy(), scipys(scaled(new)), atol=1e-8)


@pytest.mark.parametrize("kind", ["nearest", "linear", "thin_plate", "harmonics"])
def test_values_at_the_points(kind: str) -> None:
    points, values = problem(m=1) if kind == "linear" else problem()
    fitted = interpolator(kind).fit(points, values)
    tolerance = 2e-3 if kind == "harmonics" else 1e-9  # harmonics leave out ill-conditioned functions
    assert torch.allclose(fitted(points), values, atol=tolerance)
    again = interpolator(kind)({name: torch.empty_like(one) for name, one in fitted.state_dict().items()})
    again.load_state_dict(fitted.state_dict())
    assert torch.equal(again(points), fitted(points))
    assert all(not one.requires_grad for one in fitted.parameters())


@pytest.mark.parametrize("kind", ["nearest", "thin_plate", "harmonics"])
def test_blocks_do_not_matter(kind: str) -> None:
    points, values = problem()
    fitted = interpolator(kind).fit(points, values)
    new = 5 + 3 * normal(2 * BLOCK // len(points) + 50, 3, seed=1)  # two blocks and some more
    parts = torch.cat([fitted(part) for part in new.split(5000)])
    assert torch.allclose(fitted(new), parts, atol=1e-12)


@pytest.mark.parametrize("kind", ["linear", "thin_plate", "harmonics"])
def test_gradients(kind: str) -> None:
    points = interval(30)
    fitted = interpolator(kind).fit(points, torch.cat([points.sin(), points**2], 1))
    new = (0.1 + 0.8 * interval(5) + 0.003).requires_grad_()
    assert torch.autograd.gradcheck(fitted, new)


def test_linear_is_exact_for_lines_even_outside() -> None:
    points = normal(20, 1)
    fitted = interpolator("linear").fit(points, 3 * points + 1)
    new = torch.linspace(-9, 9, 50, dtype=torch.float64)[:, None]
    assert torch.allclose(fitted(new), 3 * new + 1)


def test_thin_plate_keeps_planes_with_dependent_features() -> None:
    points = torch.cat([normal(40, 2), normal(40, 2)[:, :1], torch.ones(40, 1)], 1)
    fitted = ThinPlate.fit(points, points[:, :2], smoothing=0.5)
    assert torch.allclose(fitted(points[:5]), points[:5, :2], atol=1e-8)


def test_identical_points_are_averaged() -> None:
    points = torch.tensor([[0.0], [1.0], [1.0], [2.0]], dtype=torch.float64)
    values = torch.tensor([[0.0], [1.0], [3.0], [4.0]], dtype=torch.float64)
    for kind in ("linear", "thin_plate", "harmonics"):
        assert interpolator(kind).fit(points, values)(points)[1] == pytest.approx(2.0, abs=1e-6)


def test_nearest_takes_the_first_of_equals() -> None:
    points = torch.tensor([[0.0], [2.0], [2.0]], dtype=torch.float64)
    assert nearest_rows(torch.tensor([[1.9], [-4.0]], dtype=torch.float64), points).tolist() == [1, 0]


def test_refusals() -> None:
    points, values = problem(n=4, m=4)
    with pytest.raises(FitError, match=r"at least 5 distinct rows; got 4.*fewer features"):
        ThinPlate.fit(points, values)
    with pytest.raises(FitError, match="identical"):
        ThinPlate.fit(torch.ones(9, 2), torch.ones(9, 2), 1.0)
    with pytest.raises(FitError, match="takes one column, got 4"):
        interpolator("linear").fit(points, values)
    with pytest.raises(FitError, match="two distinct points"):
        interpolator("linear").fit(torch.ones(3, 1), torch.ones(3, 1))
    with pytest.raises(FitError, match="two distinct rows"):
        interpolator("harmonics").fit(torch.ones(3, 2), torch.ones(3, 1))
    with pytest.raises(FitError, match="did you mean 'thin_plate'"):
        interpolator("thinplate")
    with pytest.raises(FitError, match="at most 16000 rows, got 16001: set landmarks"):
        ThinPlate.fit(*problem(16_001))
    assert set(INTERPOLATORS) >= {"nearest", "linear", "thin_plate", "harmonics"}
