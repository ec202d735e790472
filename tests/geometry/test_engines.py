"""The engine datafold against ours, against the packages themselves, and from recipe to saved model."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sparse
import torch
from clouds import circle, forms, interval, normal, observed, rectangle, sphere, warped
from pico_recipes import reading
from scipy.interpolate import RBFInterpolator

from hf_stitch.errors import FitError, RecipeError
from hf_stitch.experiments.fit import fit
from hf_stitch.geometry.diffusion.diffusion_map import DiffusionMap
from hf_stitch.geometry.diffusion.engine import TORCH, engine
from hf_stitch.geometry.diffusion.kernel import DenseKernel, Kernel, SparseKernel
from hf_stitch.geometry.diffusion.markov import density_normalised, eigenpairs
from hf_stitch.geometry.interpolation.geometric_harmonics import GeometricHarmonics
from hf_stitch.geometry.local_metrics.local_metric import LocalMetric
from hf_stitch.geometry.local_metrics.mahalanobis import squared_distances
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.report.report import Report

needs_datafold = pytest.mark.datafold


def weights(points: torch.Tensor, metric: LocalMetric | None = None) -> np.ndarray:
    squared = squared_distances(points, metric or LocalMetric.euclidean(*points.shape)).numpy()
    return np.exp(-squared / (2 * np.median(np.partition(squared, 10, axis=1)[:, 10])))


def dense(values: np.ndarray) -> Kernel:
    return DenseKernel(torch.from_numpy(values.copy()))


def thinned(values: np.ndarray) -> Kernel:
    return SparseKernel(sparse.csr_matrix(np.where(values > 1e-4, values, 0.0)))


def projectors(values: np.ndarray, functions: np.ndarray, stationary: np.ndarray) -> list[np.ndarray]:
    """Projectors onto the spaces of equal eigenvalues, the last of which may be cut by the count and is left out."""
    ends = np.flatnonzero(np.diff(values) < -1e-6)
    unit = functions * np.sqrt(stationary)[:, None]
    return [part @ part.T for part in np.split(unit, ends + 1, axis=1)[:-1]]


CLOUDS = {
    "interval": weights(interval(300)),
    "circle": weights(circle(300)),
    "square": weights(rectangle(20, 20, 1.0, 1.0)),
    "sphere": weights(sphere(500)),
    "warp": weights(warped(interval(300))[0], LocalMetric.from_jacobian(warped(interval(300))[1])),
    "network": weights(*observed(3 * torch.rand(400, 2, dtype=torch.float64) - 1.5, 10)),
}


@needs_datafold
@pytest.mark.parametrize("shape", [dense, thinned])
@pytest.mark.parametrize("name", CLOUDS)
def test_eigenvalues_and_eigenspaces_of_one_kernel(name: str, shape: Any) -> None:
    matrix = shape(CLOUDS[name])
    before = matrix.whole()
    ours, theirs = eigenpairs(matrix, 9), engine("datafold").eigenpairs(matrix, 9)
    assert np.array_equal(matrix.whole(), before)
    assert np.abs(ours.spectrum - theirs.spectrum).max() < 1e-8
    assert np.abs(ours.density / theirs.density - 1).max() < 1e-12
    _, degree, _ = density_normalised(matrix)
    stationary = degree / degree.sum()
    for one in (ours, theirs):
        assert np.allclose(stationary @ one.coordinates**2, 1, atol=1e-8)
        assert np.abs(stationary @ one.coordinates).max() < 1e-8
    spaces = [projectors(one.spectrum, one.coordinates, stationary) for one in (ours, theirs)]
    assert len(spaces[0]) == len(spaces[1]) >= 1
    for a, b in zip(*spaces):
        assert np.linalg.norm(a - b) < 1e-6


@needs_datafold
def test_all_eigenpairs_there_are() -> None:
    matrix = dense(weights(normal(40, 3)))
    ours, theirs = eigenpairs(matrix, 39), engine("datafold").eigenpairs(matrix, 39)
    assert np.abs(ours.spectrum - theirs.spectrum).max() < 1e-8


@needs_datafold
def test_maps_have_the_same_signs_and_interpolate_alike() -> None:
    values, jacobian = warped(interval(200))
    metric = LocalMetric.from_jacobian(jacobian)
    maps = [DiffusionMap.fit(values, metric, 5, engine=engine(name)) for name in ("torch", "datafold")]
    between, _ = warped((interval(200)[1:] + interval(200)[:-1]) / 2)
    assert torch.allclose(maps[0].coordinates, maps[1].coordinates, atol=1e-8)
    for kind in ("nearest", "nystroem", "thin_plate"):
        assert torch.allclose(*(one.extend(between, kind) for one in maps), atol=1e-7), kind


@needs_datafold
def test_nystroem_is_datafolds_own() -> None:
    """With Euclidean metrics the kernel is datafold's Gaussian one of half the bandwidth; it also extends the map."""
    from datafold.dynfold import DiffusionMaps
    from datafold.pcfold.kernels import GaussianKernel

    points, new = normal(200, 3), 0.8 * normal(40, 3, seed=1)
    ours = DiffusionMap.fit(points, LocalMetric.euclidean(200, 3), 5, "all")
    theirs = DiffusionMaps(GaussianKernel(epsilon=ours.bandwidth / 2), n_eigenpairs=6).fit(points.numpy())
    assert np.abs(theirs.eigenvalues_[1:] - ours.spectrum.numpy()).max() < 1e-8
    fitted, extended = (np.asarray(theirs.transform(x.numpy()))[:, 1:] for x in (points, new))
    scale = (fitted * ours.coordinates.numpy()).sum(0) / (fitted**2).sum(0)
    assert np.allclose(extended * scale, ours.extend(new, "nystroem").numpy(), atol=1e-7)


@needs_datafold
def test_kernel_is_datafolds_experimental_one() -> None:
    """Its distances have a factor 1/2, and it leaves the diagonal out."""
    from datafold.pcfold.kernels import MahalanobisKernel

    points = normal(30, 4)
    metric = LocalMetric.from_jacobian(normal(30, 4, 2, seed=1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = MahalanobisKernel(epsilon=5.0)(points.numpy(), cov_matrices=2 * forms(metric).numpy()).toarray()
    ours = np.exp(-squared_distances(points, metric).numpy() / 10)
    apart = ~np.eye(30, dtype=bool)
    assert np.allclose(theirs[apart], ours[apart], rtol=1e-10)


def problem(m: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    points = 5 + 3 * normal(120, m)
    return points, torch.stack([points[:, 0].sin(), points.sum(1)], 1), 5 + 3 * normal(50, m, seed=1)


@needs_datafold
@pytest.mark.parametrize("smoothing", [0.0, 1e-3, 1.0])
@pytest.mark.parametrize("m", [1, 3, 30])
def test_splines_carry_scipys_coefficients(smoothing: float, m: int) -> None:
    points, values, new = problem(m)
    ours, theirs = (
        engine(name).interpolator("thin_plate", points, values, smoothing) for name in ("torch", "datafold")
    )
    shift, scale = ours.get_buffer("shift"), ours.get_buffer("scale")
    rows, fresh = (((x - shift) / scale).numpy() for x in (points, new))
    scipys = RBFInterpolator(rows, values.numpy(), kernel="thin_plate_spline", smoothing=smoothing)(fresh)
    assert np.allclose(theirs(new).numpy(), scipys, atol=1e-8)
    assert torch.allclose(theirs(new), ours(new), atol=1e-8)


@needs_datafold
@pytest.mark.parametrize("condition", [1e-6, 1e-3])
def test_harmonics_are_datafolds(condition: float) -> None:
    from datafold.dynfold import GeometricHarmonicsInterpolator
    from datafold.pcfold.kernels import GaussianKernel

    points, values, new = problem(3)
    ours, theirs = (engine(name).interpolator("harmonics", points, values, condition) for name in ("torch", "datafold"))
    assert torch.allclose(theirs(new), ours(new), atol=1e-8)
    gaussian = GaussianKernel(epsilon=float(GeometricHarmonics.bandwidth_of(points)))
    spectrum = np.linalg.eigvalsh(gaussian(points.numpy()))
    count = int((spectrum > condition * spectrum[-1]).sum())
    shift = values.mean(0)
    datafolds = GeometricHarmonicsInterpolator(gaussian, n_eigenpairs=count).fit(
        points.numpy(), (values - shift).numpy()
    )
    assert np.allclose(ours(new), datafolds.predict(new.numpy()) + shift.numpy(), atol=1e-8)


@needs_datafold
def test_rotations_are_scipys() -> None:
    a, b = normal(50, 4), normal(50, 4, seed=1)
    ours, theirs = (engine(name).procrustes(a, b) for name in ("torch", "datafold"))
    assert torch.allclose(ours.rotation, theirs.rotation, atol=1e-10)
    assert theirs.residual == pytest.approx(ours.residual)
    with pytest.raises(FitError, match="same number of pairs"):
        engine("datafold").procrustes(a, b[:3])


@needs_datafold
def test_large_splines_ask_for_landmarks() -> None:
    points = normal(16_001, 3)
    with pytest.raises(FitError, match=r"at most 16000 rows, got 16001: set landmarks"):
        engine("datafold").interpolator("thin_plate", points, points)


# from recipe to saved model


def hide(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in an environment without datafold, whatever is installed."""
    for name in ("datafold", *[name for name in sys.modules if name.startswith("datafold.")]):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "hf_stitch.geometry.diffusion.datafold_engine", raising=False)


def content(source: Path, target: Path, written: Path, name: str, **options: Any) -> dict[str, Any]:
    stitch = {"method": "diffusion", "coordinates": 8, "neighbours": "all", "engine": name, **options}
    changes: dict[str, Any] = {"data": {"fit": {"samples": 30}}, "neighborhoods": {"eta": 0.1, "rank": "auto"}}
    return reading(source, target, written, stitch=stitch, **changes)


@needs_datafold
@pytest.mark.parametrize("options", [{}, {"interpolation": "nystroem"}, {"sides": "source", "neighbours": 30}])
def test_a_recipe_gives_one_model_by_either_engine(
    pico_roberta: Path, pico_xlnet: Path, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict
) -> None:
    models, reports = {}, {}
    for name in ("torch", "datafold"):
        recipe = Recipe.parse(content(pico_roberta, pico_xlnet, written, name, **options))
        models[name], reports[name] = fit(recipe, tmp_path / name, device="cpu")
    inputs = {"input_ids": torch.tensor([[0, 5, 7, 9, 2]]), "target_spans": torch.tensor([[[1, 2], [2, 4], [-1, 2]]])}
    hidden = normal(20, models["torch"].layer.features_in).float() / 2
    with torch.no_grad():
        answers = {name: model(**inputs).logits for name, model in models.items()}
        mapped = {name: model.layer(hidden) for name, model in models.items()}
    torch.testing.assert_close(answers["datafold"], answers["torch"], rtol=0, atol=1e-5)
    torch.testing.assert_close(mapped["datafold"], mapped["torch"], rtol=1e-4, atol=1e-4)
    assert reports["datafold"].value("agreement") == reports["torch"].value("agreement")
    assert reports["datafold"].diagnostics.fits["diffusion"]["source"]["solver"] == "datafold"
    assert "datafold" in reports["datafold"].environment["versions"]
    # What was saved needs neither of the packages that made it, and holds no pickle.
    hide(monkeypatch)
    again = StitchedModel.from_pretrained(tmp_path / "datafold").eval()
    with torch.no_grad():  # to rounding: some CPUs sum otherwise where loaded weights lie otherwise in memory
        torch.testing.assert_close(again(**inputs).logits, answers["datafold"], rtol=1e-5, atol=1e-7)
    saved, kept = again.layer.state_dict(), models["datafold"].layer.state_dict()
    assert saved.keys() == kept.keys()
    assert all(torch.equal(saved[name], kept[name]) for name in kept)
    assert not {path.suffix for path in (tmp_path / "datafold").rglob("*")} & {".bin", ".pt", ".pkl", ".pickle"}
    assert Report.load(tmp_path / "datafold").measures == reports["datafold"].measures


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch)


@pytest.mark.parametrize("place", ["recipe", "comparison"])
def test_a_missing_extra_is_told_before_any_work(
    missing: None,
    pico_xlnet: Path,
    written: Path,
    tmp_path: Path,
    place: str,
) -> None:
    """Before any work: that would fail on a model that is not there."""
    nowhere = tmp_path / "roberta"
    asked = content(nowhere, pico_xlnet, written, "datafold" if place == "recipe" else "torch")
    if place == "comparison":
        asked["compare"] = [{"name": "thesis", "stitch": {"engine": "datafold"}}]
    with pytest.raises(FitError, match=r"pip install 'hf_stitch\[datafold\]'.*use engine: torch"):
        fit(Recipe.parse(asked), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_names_of_engines(missing: None) -> None:
    assert engine("torch") is TORCH
    with pytest.raises(FitError, match="did you mean 'datafold'"):
        engine("datafld")
    with pytest.raises(RecipeError, match="engine"):
        Recipe.load("parabola", ["stitch.engine=numpy"])
