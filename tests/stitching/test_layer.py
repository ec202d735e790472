"""The registry, landing, fill, pairing and every refusal that all methods share."""

from dataclasses import replace

import pytest
import torch
from clouds import normal, rows
from laws import holds, restored

from hf_stitch.errors import ActivationError, ArtifactError, FitError, RecipeError
from hf_stitch.recipe.stitch import METHODS
from hf_stitch.stitching.layers.fit_layer import fit_layer
from hf_stitch.stitching.layers.layer import StitchingLayer, layer_class, methods

LAWS: dict[str, dict] = {
    "affine": {},
    "diffusion": {"coordinates": 3, "neighbours": "all"},
    "orthogonal": {},
    "rbf": {},
}
"""Every method, with the options by which the laws of all layers are checked on 60 rows of 4 features."""


def sides(n: int = 60, m: int = 4, features: int = 6):
    x = normal(n, m)
    full = torch.tanh(x @ normal(m, features, seed=1)) + 3
    chosen = (0, 2, 5)
    target = replace(rows(full[:, chosen]), full=full, selected=chosen)
    return rows(x), target


def test_registry() -> None:
    assert methods() == sorted(LAWS)
    assert layer_class("rbf").method == "rbf"
    with pytest.raises(RecipeError, match="did you mean 'affine'"):
        layer_class("afine")
    for method in methods():
        assert layer_class(method).method == method
        layer = fit_layer(method, *sides())
        assert set(METHODS[method].option_names()) <= set(layer.options), "what was resolved is kept"
        assert layer.facts is METHODS[method]


@pytest.mark.parametrize("method", LAWS)
@pytest.mark.parametrize("landing", ["none", "nearest"])
@pytest.mark.parametrize("fill", ["predict", "mean", "zero", "reference"])
def test_laws(method: str, landing: str, fill: str) -> None:
    source, target = sides()
    layer = fit_layer(method, source, target, landing=landing, fill=fill, options=LAWS[method])
    assert (layer.features_in, layer.features_out) == (4, 6)
    holds(layer, normal(7, 4, seed=3))
    found = layer(source.values)
    if fill == "zero":
        assert not found[:, [1, 3, 4]].any()
    if fill == "mean":
        assert torch.allclose(found[:, 1], found[:, [0, 2, 5]].mean(1))
    if fill == "reference":
        assert torch.equal(found[:, [1, 3, 4]], target.full.mean(0)[[1, 3, 4]].expand(60, -1))
    if landing == "nearest":
        known = target.full if fill == "predict" else target.values
        seen = found if fill == "predict" else found[:, [0, 2, 5]]
        assert (seen[:, None] == known[None]).all(2).any(1).all()


def test_each_timestep_of_a_slice_is_filled_with_its_own_mean() -> None:
    source, target = sides()
    two = torch.cat([target.full, 10 + target.full], 1)
    chosen = (0, 2, 6, 8)  # features 0 and 2 of either timestep
    both = replace(rows(two[:, chosen]), full=two, selected=chosen)
    layer = fit_layer("affine", source, both, fill="mean", steps=2)
    found = layer(source.values).reshape(60, 2, 6)
    for k in range(2):
        assert torch.allclose(found[:, k, [1, 3, 4, 5]], found[:, k, [0, 2]].mean(1, keepdim=True).expand(-1, 4))
    assert torch.equal(restored(layer)(source.values), layer(source.values))
    plain = fit_layer("affine", source, both, fill="mean")
    assert not torch.allclose(plain(source.values).reshape(60, 2, 6), found)


def test_float32_activations() -> None:
    source, target = sides()
    source, target = rows(source.values.float()), rows(target.full.float())
    for method, dtype in (("affine", torch.float32), ("rbf", torch.float64)):
        layer = fit_layer(method, source, target)
        assert {one.dtype for one in layer.parameters()} == {dtype}
        holds(layer, source.values)


def test_pairs_by_key_and_not_by_position() -> None:
    source, target = sides()
    expected = fit_layer("affine", source, target)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    shuffled = fit_layer("affine", source, target.take(order))
    assert torch.allclose(shuffled.weight, expected.weight, atol=1e-9)
    fewer = fit_layer("affine", source, target.take(order[:50]))
    assert "10 of 60 rows have no partner" in fewer.diagnostics["warnings"]
    with pytest.raises(ActivationError, match="no sample occurs in both"):
        fit_layer("affine", source, rows(target.values, first=1000))


def test_same_input_same_bytes() -> None:
    for method in methods():
        first, second = (fit_layer(method, *sides(), options={}).state_dict() for _ in range(2))
        assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("method", LAWS)
def test_a_layer_says_of_which_sides_it_has_coordinates(method: str) -> None:
    source, target = sides()
    layer = fit_layer(method, source, target, options=LAWS[method])
    both = {"source": (layer.coordinates, source), "target": (layer.target_coordinates, target)}
    for side, (coordinates, seen) in both.items():
        if side in layer.coordinate_sides:
            assert coordinates(seen.values).shape[0] == 60
        else:
            with pytest.raises(FitError, match=f"the {method} layer has no coordinates"):
                coordinates(seen.values)


def test_moves_follow_devices_but_not_dtypes() -> None:
    layer = fit_layer("rbf", *sides())
    moved = torch.nn.Sequential(layer).to("meta").half()
    assert {one.dtype for one in moved.state_dict().values()} == {torch.float64}
    assert all(one.is_meta for one in moved.state_dict().values())


def test_refusals() -> None:
    source, target = sides()
    with pytest.raises(RecipeError, match="no option 'smothing'; did you mean 'smoothing'"):
        fit_layer("rbf", source, target, options={"smothing": 1})
    with pytest.raises(RecipeError, match="`smoothing`: input should be greater than or equal to 0; got -1"):
        fit_layer("rbf", source, target, options={"smoothing": -1})
    with pytest.raises(RecipeError, match="`landing`: unknown value 'near'; did you mean 'nearest'"):
        fit_layer("rbf", source, target, landing="near")  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="fill"):
        fit_layer("rbf", source, target, fill="median")  # type: ignore[arg-type]
    broken = source.values.clone()
    broken[5, 1], broken[9, 0] = torch.nan, torch.inf
    with pytest.raises(ActivationError, match=r"2 of 60 source rows.*first: row 5"):
        fit_layer("affine", rows(broken), target)
    with pytest.raises(ActivationError, match="empty"):
        fit_layer("affine", rows(torch.zeros(0, 4)), rows(torch.zeros(0, 3)))
    with pytest.raises(FitError, match="without `selected`"):
        fit_layer("affine", source, replace(target, selected=None), fill="mean")
    layer = fit_layer("affine", source, target)
    with pytest.raises(ActivationError, match="takes 4 features, got 5"):
        layer(normal(2, 5))


@pytest.mark.parametrize(
    "change", [{"tensors": {"weight": {}}}, {"tensors": None}, {"features_in": "many"}, {"options": 3}]
)
def test_damaged_specs(change: dict) -> None:
    layer = fit_layer("affine", *sides())
    with pytest.raises(ArtifactError, match="damaged"):
        StitchingLayer.from_spec({**layer.spec, **change})
    with pytest.raises(RecipeError, match="unknown stitching method"):
        StitchingLayer.from_spec({**layer.spec, "method": "cubic"})
    assert restored(layer).method == "affine"
