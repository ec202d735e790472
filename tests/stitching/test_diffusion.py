"""Algorithm 2 on two networks of one parabola, its options, and its refusals."""

import pytest
import torch
from clouds import circle, gaussian_metric, normal, parabola_network, rows
from laws import holds
from torch import Tensor, nn

from hf_stitch.errors import FitError, ManifoldError, RecipeError
from hf_stitch.stitching.layers.diffusion import DiffusionLayer
from hf_stitch.stitching.layers.fit_layer import fit_layer

OPTIONS = {"coordinates": 2}


class Pair:
    """Two networks of x^2, their activations at 512 points, and points between those."""

    def __init__(self) -> None:
        x = torch.linspace(-1, 1, 512, dtype=torch.float64)[:, None]
        self.between = (x[1:] + x[:-1]) / 2
        self.networks = [parabola_network(seed) for seed in (1, 2)]
        self.halves = [network[:6] for network in self.networks]
        self.sets = [rows(half(x), gaussian_metric(half, x)) for half in self.halves]

    def fit(self, **options) -> DiffusionLayer:
        return fit_layer("diffusion", *self.sets, options={**OPTIONS, **options})

    def output_error(self, layer: nn.Module) -> float:
        second = self.networks[1]
        return float((second[6:](layer(self.halves[0](self.between))) - second(self.between)).square().mean())

    def map_error(self, layer: DiffusionLayer) -> float:
        there = layer.coordinates(self.halves[0](self.between))
        return float((there - layer.target_coordinates(self.halves[1](self.between))).square().mean())


@pytest.fixture(scope="module")
def pair() -> Pair:
    return Pair()


@pytest.mark.parametrize("neighbours", ["grown", "all", 24])
def test_aligned_inverse_meets_the_published_error(pair: Pair, neighbours) -> None:
    assert [one.metric.rank for one in pair.sets] == [1, 1]
    layer = pair.fit(neighbours=neighbours)
    assert pair.output_error(layer) < 1e-8
    assert pair.map_error(layer) < 1e-5
    notes = layer.diagnostics
    assert notes["source"]["dimension"] == [1.0, 1.0, 1.0]
    assert notes["source"]["bandwidth"] == pytest.approx(notes["target"]["bandwidth"], rel=0.01)
    assert notes["alignment"]["residual"] < 0.01
    assert notes["warnings"] == []


@pytest.mark.parametrize(
    ("options", "bound"),
    [
        ({"inverse": "target"}, 1e-6),
        ({"inverse": "target", "pairs": 2, "coordinates": 8}, 1e-6),
        ({"pairs": 64}, 1e-4),
        ({"interpolation": "nearest"}, 1e-4),
        ({"interpolation": "linear", "coordinates": 1}, 1e-7),
        ({"interpolation": "nystroem"}, 1e-5),
        ({"interpolation": "harmonics"}, 1e-2),
        ({"sides": "source"}, 1e-8),
        ({"harmonics": "drop", "coordinates": 6}, 1e-6),
        ({"bandwidth": 20.0}, 1e-7),
    ],
)
def test_options(pair: Pair, options: dict, bound: float) -> None:
    layer = pair.fit(**options)
    assert pair.output_error(layer) < bound
    if options.get("interpolation") != "nearest":
        holds(layer, pair.halves[0](pair.between[::64]))


def test_coordinates_of_either_side(pair: Pair) -> None:
    assert pair.fit().coordinate_sides == ("source", "target")
    layer = pair.fit(sides="source", coordinates=3)
    assert layer.coordinate_sides == ("source",)
    x = pair.sets[0].values
    assert layer.coordinates(x[None, :4]).shape == (1, 4, 3)
    with pytest.raises(FitError, match="sides: both"):
        layer.target_coordinates(x)
    assert "target" not in layer.diagnostics
    dropped = pair.fit(harmonics="drop", coordinates=6)
    assert dropped.coordinates(x).shape == (512, 1)
    residuals = dropped.diagnostics["source"]["residuals"]
    assert residuals[0] == 1
    assert max(residuals[1:]) < 0.5


def test_rotation_of_features_does_not_matter(pair: Pair) -> None:
    source, target = pair.sets
    turn = torch.linalg.qr(normal(8, 8)).Q
    metric = type(source.metric)(source.metric.scale, source.metric.factors @ turn, 1, source.metric.width)
    turned = fit_layer("diffusion", rows(source.values @ turn, metric), target, options=OPTIONS)
    plain = pair.fit()
    new = pair.halves[0](pair.between)
    assert torch.allclose(turned(new @ turn), plain(new), atol=1e-6)


def test_number_of_coordinates_by_default_and_without_metrics() -> None:
    source = rows(circle(60))
    layer = fit_layer("diffusion", source, source)
    assert layer.options["coordinates"] == 30
    assert len(layer.diagnostics["warnings"]) == 2
    assert torch.allclose(layer(source.values), source.values, atol=1e-8)


def discrete() -> Tensor:
    return normal(5, 3).repeat(12, 1)


@pytest.mark.parametrize(
    ("target", "options", "error", "message"),
    [
        (discrete(), {}, ManifoldError, "target activations.*sides: source"),
        (None, {"coordinates": 60}, ManifoldError, "source activations: 60 rows have 1 to 59 coordinates"),
        (None, {"pairs": 100}, FitError, "pairs: expected 1 to 60"),
        (None, {"pairs": 3, "coordinates": 4}, FitError, "4 coordinates back to activations.*at least 5 distinct rows"),
        (None, {"inverse": "target", "sides": "source"}, FitError, "sides: both"),
        (None, {"interpolation": "cubic"}, RecipeError, "`interpolation`: unknown value 'cubic'; known: harmonics"),
        (None, {"interpolation": "linear", "coordinates": 2}, FitError, "takes one column, got 2"),
        (None, {"neighbours": 60}, ManifoldError, "number from 1 to 59"),
    ],
)
def test_refusals(target: Tensor | None, options: dict, error: type[Exception], message: str) -> None:
    source = rows(circle(60))
    with pytest.raises(error, match=message):
        fit_layer("diffusion", source, source if target is None else rows(target), options={**OPTIONS, **options})
    if target is not None:
        assert fit_layer("diffusion", source, rows(target), options={"coordinates": 9, "sides": "source"}).features_out


def clusters(spread: float) -> Tensor:
    """Six clusters of 20 points, such as occurrences of six words."""
    centres = spread * normal(6, 3, seed=1)
    return (centres[:, None] + 0.1 * normal(120, 3).reshape(6, 20, 3)).flatten(0, 1)


def test_a_cloud_in_pieces_is_joined_by_all_pairs_and_says_so() -> None:
    source, target = rows(clusters(0.4)), rows(clusters(0.4) @ normal(3, 3, seed=2))
    layer = fit_layer("diffusion", source, target, options={"coordinates": 20})
    assert layer.options["neighbours"] == "all"
    assert [layer.diagnostics[side]["neighbours"] for side in ("source", "target")] == ["all", "all"]
    [told] = [text for text in layer.diagnostics["warnings"] if text.startswith("source: grown")]
    assert "leave the cloud in 6 pieces" in told
    assert "(neighbours: all)" in told
    asked = fit_layer("diffusion", source, target, options={"coordinates": 20, "neighbours": "all"})
    assert torch.equal(layer(source.values), asked(source.values))
    with pytest.raises(ManifoldError, match=r"source activations: .* pieces .* use neighbours: all"):
        fit_layer("diffusion", source, target, options={"coordinates": 20, "neighbours": "grown"})


def test_a_connected_cloud_keeps_its_grown_neighbours(pair: Pair) -> None:
    layer, asked = pair.fit(), pair.fit(neighbours="grown")
    assert layer.options["neighbours"] == "grown"
    assert torch.equal(layer(pair.sets[0].values), asked(pair.sets[0].values))
    assert not any("pieces" in text for text in layer.diagnostics["warnings"])
