"""Clouds that cannot be mapped, by either engine: each a clear error or the result that is written down here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from clouds import circle, normal, rows
from pico_recipes import reading
from solvers import ENGINES
from torch import Tensor

from hf_stitch.activations.activation_set import ActivationSet
from hf_stitch.errors import ActivationError, FitError, ManifoldError
from hf_stitch.experiments.fit import fit
from hf_stitch.geometry.local_metrics.covariance_sketch import CovarianceSketch
from hf_stitch.geometry.local_metrics.dimension import scarce
from hf_stitch.geometry.local_metrics.local_metric import LocalMetric
from hf_stitch.recipe.overrides import merge
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.stitching.layers.fit_layer import fit_layer
from hf_stitch.stitching.layers.layer import StitchingLayer

RING = circle(60)
TWINS = torch.cat([RING, RING[:9]])
FLAT = torch.cat([RING, torch.ones(60, 1)], 1)
REPEATED = RING[:5].repeat(12, 1)
PIECES = torch.cat([RING, RING + 50])


def spoiled(value: float) -> Tensor:
    return torch.where(torch.arange(60)[:, None] == 4, value, RING)


@pytest.fixture(params=ENGINES)
def by(request: pytest.FixtureRequest) -> str:
    return request.param


def fitted(by: str, source: ActivationSet, target: ActivationSet | None = None, **options: Any) -> StitchingLayer:
    return fit_layer("diffusion", source, target or source, options={"coordinates": 3, "engine": by, **options})


@pytest.mark.parametrize(
    ("points", "options", "error", "message"),
    [
        (RING[:0], {}, ActivationError, "empty: collect at least one sample"),
        (RING[:1], {}, ManifoldError, "at least three rows; got 1: take more samples"),
        (RING[:2], {}, ManifoldError, "at least three rows; got 2"),
        (RING, {"coordinates": 60}, ManifoldError, "60 rows have 1 to 59 coordinates; got 60: ask for fewer"),
        (RING, {"coordinates": 600}, ManifoldError, "60 rows have 1 to 59 coordinates; got 600"),
        (spoiled(torch.nan), {}, ActivationError, r"1 of 60 source rows hold NaN or infinite numbers \(first: row 4\)"),
        (spoiled(torch.inf), {}, ActivationError, "1 of 60 source rows hold NaN or infinite numbers"),
        (RING[:1].repeat(60, 1), {}, ManifoldError, "all 60 rows are identical: take features that differ"),
        (REPEATED, {}, ManifoldError, "a set of repeated points.*use sides: source"),
        (REPEATED, {"neighbours": "all"}, ManifoldError, "a set of repeated points.*use sides: source"),
        (PIECES, {}, ManifoldError, "falls into 2 pieces.*use a larger bandwidth than"),
        (
            PIECES,
            {"neighbours": "grown"},
            ManifoldError,
            "falls into 2 pieces.*use neighbours: all, more neighbours, a larger bandwidth than",
        ),
        (PIECES, {"neighbours": 3}, ManifoldError, "falls into 2 pieces"),
        (PIECES, {"neighbours": "all"}, ManifoldError, "falls into 2 pieces.*use a larger bandwidth"),
        (RING, {"neighbours": 60}, ManifoldError, "expected grown, all or a number from 1 to 59; got 60"),
    ],
)
def test_refusals(by: str, points: Tensor, options: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fitted(by, rows(points), **options)


def test_a_target_of_one_point_is_refused_by_name(by: str) -> None:
    with pytest.raises(ManifoldError, match="target activations: all 60 rows are identical"):
        fitted(by, rows(RING), rows(torch.ones(60, 2)))
    assert fitted(by, rows(RING), rows(REPEATED), sides="source", coordinates=9).features_out == 2


def test_the_fewest_rows_there_can_be(by: str) -> None:
    layer = fitted(by, rows(RING[:3]), coordinates=1)
    assert torch.allclose(layer(RING[:3]), RING[:3], atol=1e-6)


@pytest.mark.parametrize("interpolation", ["nearest", "nystroem", "thin_plate", "harmonics"])
def test_duplicates_get_one_place(by: str, interpolation: str) -> None:
    """Equal rows have equal coordinates to rounding, too near for a spline that has to pass through both."""
    options = {"interpolation": interpolation, "neighbours": "all"}
    layer = fitted(by, rows(TWINS), **options, **({} if interpolation == "harmonics" else {"smoothing": 1e-6}))
    found = layer(TWINS)
    assert torch.allclose(found[:9], found[60:], atol=1e-6)
    assert torch.allclose(found, TWINS, atol=2e-2 if interpolation == "harmonics" else 1e-3)


def test_duplicates_without_smoothing_are_told() -> None:
    with pytest.raises(FitError, match=r"coordinates back to activations.*too close.*set smoothing above 0"):
        fitted("torch", rows(TWINS))


def test_a_constant_feature_says_nothing(by: str) -> None:
    plain, flat = (fitted(by, rows(x), interpolation="nystroem") for x in (RING, FLAT))
    assert torch.allclose(flat(FLAT)[:, :2], plain(RING), atol=1e-6)
    assert torch.allclose(flat(FLAT)[:, 2], torch.ones(60, dtype=torch.float64), atol=1e-6)


def test_a_constant_feature_in_a_spline_by_ours() -> None:
    assert torch.allclose(fitted("torch", rows(FLAT))(FLAT), FLAT, atol=1e-6)


@pytest.mark.datafold
@pytest.mark.parametrize("points", [FLAT, torch.cat([RING, RING[:, :1]], 1)], ids=["constant", "dependent"])
def test_scipys_spline_takes_no_constant_feature(points: Tensor) -> None:
    with pytest.raises(FitError, match=r"leave out features that are constant or depend linearly.*engine: torch"):
        fitted("datafold", rows(points))


# neighbourhoods


def metric_of(deviations: Tensor, **options: Any) -> LocalMetric:
    sketch = CovarianceSketch(len(deviations), deviations.shape[2], 8)
    sketch.add(deviations)
    return LocalMetric.from_spectrum(*sketch.spectrum(), **options)


def test_one_neighbour_shows_one_direction(by: str) -> None:
    """Exact where the cloud is a curve and the neighbour lies along it; of anything wider it misses directions."""
    along = torch.stack([-RING[:, 1], RING[:, 0]], 1)[:, None] * 0.01
    metric = metric_of(along, width=0.01)
    assert (metric.rank, metric.dimension) == (1, (1.0, 1.0, 1.0))
    layer = fitted(by, rows(RING, metric), coordinates=2)
    assert torch.allclose(layer(RING), RING, atol=1e-4)
    with pytest.raises(ManifoldError, match=r"no variance.*take at least two neighbours"):
        metric_of(torch.zeros(60, 1, 2, dtype=torch.float64))


@pytest.mark.parametrize(("dimension", "neighbours", "few"), [(1, 1, True), (1, 3, False), (4, 8, True), (4, 9, False)])
def test_few_neighbours_for_a_dimension(dimension: int, neighbours: int, few: bool) -> None:
    told = scarce(float(dimension), neighbours)
    assert (told is not None) == few
    assert told is None or f"neighborhoods.size to {2 * dimension + 1} or more" in told


def test_a_recipe_of_one_neighbour_is_warned(pico_roberta: Path, pico_xlnet: Path, written: Path) -> None:
    changes: dict[str, Any] = {"data": {"fit": {"samples": 12}}, "neighborhoods": {"size": 1, "rank": "auto"}}
    changes["stitch"] = {"method": "diffusion", "coordinates": 4, "neighbours": "all", "bandwidth": 1e4}
    content = reading(pico_roberta, pico_xlnet, written, **changes)
    _, report = fit(Recipe.parse(content), device="cpu")
    warned = report.diagnostics.fits["diffusion"]["warnings"]
    for side in ("source", "target"):
        assert [text for text in warned if text.startswith(f"{side}: 1 neighbours of a sample are too few")]


def test_exact_neighbourhoods_are_never_too_few(tmp_path: Path) -> None:
    from local_metrics import metric_of as collected
    from local_metrics import vectors

    exact = {"neighborhoods": {"kind": "jacobian"}, "stitch": {"method": "diffusion"}}
    _, summary = collected(merge(vectors(tmp_path), exact))
    assert "scarce" not in summary


def test_more_features_than_rows(by: str) -> None:
    with pytest.raises(FitError, match="needs at least 21 distinct rows; got 20"):
        fitted(by, rows(normal(20, 20)), neighbours="all")
