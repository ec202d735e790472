"""Local splines against SciPy's, landmarks, and extension of many rows with bounded memory."""

import numpy as np
import pytest
import torch
from clouds import circle, interval, normal, rectangle, rows, sphere
from laws import holds
from scipy.interpolate import RBFInterpolator

from hf_stitch.errors import FitError
from hf_stitch.geometry.diffusion.diffusion_map import DiffusionMap
from hf_stitch.geometry.interpolation import thin_plate
from hf_stitch.geometry.interpolation.fit_interpolator import fit_interpolator
from hf_stitch.geometry.interpolation.local_spline import LocalThinPlate
from hf_stitch.geometry.local_metrics.local_metric import LocalMetric
from hf_stitch.geometry.subsets import farthest_points
from hf_stitch.runtime.sharding import BLOCK
from hf_stitch.stitching.layers.fit_layer import fit_layer


def values(points: torch.Tensor) -> torch.Tensor:
    return torch.stack([points[:, 0].sin(), points.sum(1), points[:, -1] ** 2], 1)


@pytest.mark.parametrize("smoothing", [0.0, 1e-3])
@pytest.mark.parametrize("m", [1, 3, 30])
def test_is_scipys_with_neighbours(smoothing: float, m: int) -> None:
    points, new = 5 + 3 * normal(300, m), 5 + 3 * normal(40, m, seed=1)
    spline = LocalThinPlate.fit(points, values(points), smoothing)
    assert spline.nearest == max(50, 2 * (m + 1))
    scale, shift = (points - points.mean(0)).square().mean().sqrt(), points.mean(0)
    theirs = RBFInterpolator(
        ((points - shift) / scale).numpy(),
        values(points).numpy(),
        neighbors=spline.nearest,
        kernel="thin_plate_spline",
        smoothing=smoothing,
    )
    assert np.allclose(spline(new).numpy(), theirs(((new - shift) / scale).numpy()), atol=1e-8)


@pytest.mark.parametrize("points", [interval(200), circle(300), sphere(400), torch.cat([sphere(200), sphere(200)], 1)])
def test_meets_the_values_and_bends_between(points: torch.Tensor) -> None:
    spline = LocalThinPlate.fit(points, values(points))
    assert torch.allclose(spline(points), values(points), atol=1e-9)
    between = (points[60:-60] + points[61:-59]) / 2
    if points.shape[1] < 3:
        assert torch.allclose(spline(between), values(between), atol=1e-4)
    moved = (between[:5] + 0.01 * normal(5, points.shape[1])).requires_grad_()  # no two centres as far as each other
    assert torch.autograd.gradcheck(spline, moved)
    empty = LocalThinPlate({name: torch.empty_like(one) for name, one in spline.state_dict().items()})
    empty.load_state_dict(spline.state_dict())
    assert torch.equal(empty(between), spline(between))
    assert spline(points[:0]).shape == (0, 3)


def test_constant_features_and_twins() -> None:
    points = torch.cat([circle(100), circle(100)[:30], circle(100)[:30]])
    points = torch.cat([points, torch.ones(160, 1)], 1)
    for smoothing in (0.0, 0.1):
        spline = LocalThinPlate.fit(points, values(points), smoothing)
        assert torch.allclose(spline(points[:30]), values(points)[:30], atol=1e-9 if not smoothing else 0.1)


def test_local_splines_are_near_the_whole_one() -> None:
    points, new = rectangle(30, 20, 2.0, 1.0), 0.1 + 0.8 * rectangle(7, 9, 2.0, 1.0)
    whole = fit_interpolator("thin_plate", points, values(points))
    assert whole.kind == "thin_plate"
    assert torch.allclose(LocalThinPlate.fit(points, values(points))(new), whole(new), atol=1e-3)


def test_many_centres_are_local_by_themselves() -> None:
    points = normal(16_001, 2)
    local = fit_interpolator("thin_plate", points, values(points))
    assert local.kind == "local_thin_plate"
    assert torch.allclose(local(points[:50]), values(points[:50]), atol=1e-9)
    assert fit_interpolator("thin_plate", points, values(points), landmarks=60).kind == "thin_plate"
    with pytest.raises(FitError, match="at most 6000 rows, got 16001: set landmarks"):
        fit_interpolator("harmonics", points, values(points))


def test_landmarks_cover_the_cloud() -> None:
    points = sphere(600)
    order = torch.randperm(600, generator=torch.Generator().manual_seed(0))
    kept = farthest_points(points, 60)
    assert kept.tolist() == sorted(set(kept.tolist()))
    assert torch.cdist(points, points[kept]).amin(1).max() < 2 * (4 * np.pi / 60 / np.pi) ** 0.5
    assert torch.equal(points[order[farthest_points(points[order], 60)]].sort(0).values, points[kept].sort(0).values)
    assert farthest_points(torch.ones(9, 2), 4).tolist() == [0]
    assert len(farthest_points(normal(5, 2).repeat(3, 1), 9)) == 5
    losses = [fit_interpolator("thin_plate", points, values(points), 0.0, k).loss for k in (20, 80, 320)]
    assert losses[0] > 5 * losses[1] > 20 * losses[2]
    assert fit_interpolator("thin_plate", points, values(points), 0.0, 600).loss is None
    for wrong in (0, 601):
        with pytest.raises(FitError, match="landmarks: expected 1 to 600"):
            farthest_points(points, wrong)


@pytest.mark.parametrize("method", ["rbf", "diffusion"])
def test_layers_with_landmarks(method: str) -> None:
    points = sphere(400)
    options = {"coordinates": 10} if method == "diffusion" else {"smoothing": 0.0}
    layer = fit_layer(method, rows(points), rows(values(points)), options={**options, "landmarks": 100})
    holds(layer, points[::40] + 0.01)
    notes = layer.diagnostics
    assert notes["centres"] == 100
    assert notes["landmarks"]["rows"] == 400
    assert all(0 < loss < 0.1 for loss in notes["landmarks"]["loss"].values())
    assert not any(400 in one["shape"] for one in layer.spec["tensors"].values())


def test_layers_of_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    points = sphere(400)
    monkeypatch.setattr(thin_plate, "DENSE_LIMIT", 200)
    for method, options in (("rbf", {"smoothing": 0.0}), ("diffusion", {"coordinates": 8})):
        layer = fit_layer(method, rows(points), rows(values(points)), options=options)
        holds(layer, points[::40] + 0.01)
        assert "local_thin_plate" in str(layer.options)
        assert layer.diagnostics["centres"] == 400


def test_nystroem_of_sparse_kernels_in_blocks() -> None:
    points = circle(300)
    for metric in (
        LocalMetric.euclidean(300, 2),
        LocalMetric.from_jacobian(normal(1, 2, 2).expand(300, 2, 2), eta=0.1),
    ):
        found = DiffusionMap.fit(points, metric, 4)
        new = (points[1:] + points[:-1]) / 2
        whole = found.extend(new, "nystroem")
        assert found.joined is not None
        partners = int(np.diff(found.joined.indptr).max())
        size = BLOCK // (partners * max(metric.rank, 1) * 2)  # rows of a block
        one = 0.3 * points[1:] + 0.7 * points[:-1]  # no two fitted rows equally near: blocks may round otherwise
        many, once = one.repeat(2 * size // len(one) + 2, 1), found.extend(one, "nystroem")
        assert torch.allclose(found.extend(many, "nystroem"), once.repeat(len(many) // len(one), 1), atol=1e-12)
        middle = (found.coordinates[1:] + found.coordinates[:-1]) / 2
        assert torch.allclose(whole, middle, atol=3e-2)
        assert found.extend(new[:0], "nystroem").shape == (0, 4)
    with pytest.raises(FitError, match="leave landmarks out"):
        found.extension("nystroem", landmarks=20)


def test_refusals() -> None:
    for points, message in (
        (normal(300, 257), "at most 256 features.*landmarks"),
        (normal(4, 4), "5 or more rows"),
        (torch.ones(9, 2), "3 or more rows"),
    ):
        with pytest.raises(FitError, match=message):
            LocalThinPlate.fit(points, points)
    with pytest.raises(FitError, match="identical"):
        LocalThinPlate.fit(torch.ones(9, 2), torch.ones(9, 2), 1.0)
