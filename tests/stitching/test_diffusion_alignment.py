"""Every kind of alignment on maps whose orthogonal map is known in closed form."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from clouds import normal

from hf_stitch.activations.activation_set import ActivationSet
from hf_stitch.errors import FitError, RecipeError
from hf_stitch.geometry.diffusion.engine import TORCH
from hf_stitch.geometry.subsets import evenly_spaced
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.stitching.layers.diffusion_alignment import align
from hf_stitch.stitching.layers.fit_layer import fit_layer

SIMPLE = torch.tensor([1.0, 4.0, 9.0], dtype=torch.float64)
PAIRED = torch.tensor([1.0, 1.01, 4.0], dtype=torch.float64)
COS, SIN = torch.cos(torch.tensor(0.7)).item(), torch.sin(torch.tensor(0.7)).item()
TURN = torch.tensor([[COS, SIN, 0], [-SIN, COS, 0], [0, 0, -1.0]], dtype=torch.float64)
made = partial(SimpleNamespace, engine=TORCH)
FLIP = torch.diag(torch.tensor([-1.0, 1, -1], dtype=torch.float64))


def maps(rotation: torch.Tensor, laplace: torch.Tensor, n: int = 300) -> tuple[Any, Any]:
    """Two maps of one lopsided cloud, no mirror image of itself."""
    a = normal(n, 3) ** 2 * torch.tensor([2.0, 1.5, 1.0]) + 0.3 * normal(n, 3, seed=1)
    return made(coordinates=a, laplace=laplace), SimpleNamespace(
        engine=TORCH, coordinates=a @ rotation, laplace=laplace
    )


@pytest.mark.parametrize("pairs", [300, 12])
@pytest.mark.parametrize(
    ("kind", "rotation", "laplace"),
    [
        ("procrustes", TURN, PAIRED),
        ("blocks", TURN, PAIRED),
        ("sign", FLIP, SIMPLE),
        ("kabsch", FLIP, SIMPLE),
        ("closest_points", TURN, PAIRED),
        (None, TURN, PAIRED),
    ],
)
def test_known_maps_are_found(kind: Any, rotation: torch.Tensor, laplace: torch.Tensor, pairs: int) -> None:
    found = align(*maps(rotation, laplace), torch.arange(pairs), kind, few=pairs < 300)
    torch.testing.assert_close(found.alignment.rotation, rotation, rtol=0, atol=1e-8)
    assert found.notes["residual"] < 1e-8
    assert found.notes["residual_of_all_pairs"] < 1e-8
    assert found.notes["kind"] == (kind or "procrustes")
    assert found.notes["pairs"] == (0 if kind == "closest_points" else pairs)
    assert found.warnings == []


def test_one_pair_decides_signs_and_blocks_but_not_the_whole() -> None:
    one = torch.arange(1)
    for kind in ("sign", "blocks", None):
        assert torch.equal(align(*maps(FLIP, SIMPLE), one, kind, few=True).alignment.rotation, FLIP)
    # Two true maps that take the pair's row to the same place: whichever completion LAPACK picks, it is not both.
    place = maps(FLIP, SIMPLE)[1].coordinates[0]
    about = 2 * torch.outer(place, place) / place.square().sum() - torch.eye(3, dtype=torch.float64)
    found = [align(*maps(true, SIMPLE), one, "procrustes", few=True) for true in (FLIP, FLIP @ about)]
    for undetermined in found:
        assert undetermined.notes["residual"] < 1e-8, "the pair itself fits"
        assert "not determined by 1 pairs" in undetermined.warnings[0]
    assert max(one.notes["residual_of_all_pairs"] for one in found) > 0.1, "the others do not"


def test_ten_pairs_with_noise_are_aligned_better_block_by_block() -> None:
    """The angles between coordinates of different eigenvalues are known to be 0; ten pairs would fit them to noise."""
    spectrum = torch.tensor([1.0, 1.01, 2, 4, 4.05], dtype=torch.float64)
    turn = torch.block_diag(TURN[:2, :2], torch.eye(1, dtype=torch.float64), TURN[:2, :2])
    errors = []
    for seed in range(20):
        a = normal(300, 5, seed=seed)
        first, second = (made(coordinates=x, laplace=spectrum) for x in (a, a @ turn))
        second.coordinates = second.coordinates + 0.03 * normal(300, 5, seed=100 + seed)
        found = [align(first, second, evenly_spaced(300, 10), kind, few=True) for kind in (None, "procrustes")]
        assert [one.notes["kind"] for one in found] == ["blocks", "procrustes"]
        errors.append([one.notes["residual_of_all_pairs"] for one in found])
    ours, whole = torch.tensor(errors).mean(0).tolist()
    assert ours < whole


def test_kabsch_cannot_reflect() -> None:
    reflected = torch.diag(torch.tensor([1.0, 1, -1], dtype=torch.float64))
    found = align(*maps(reflected, SIMPLE), torch.arange(300), "kabsch")
    assert torch.linalg.det(found.alignment.rotation) == pytest.approx(1.0)
    assert found.notes["residual"] > 0.1


def test_signs_of_equal_eigenvalues_are_warned_of() -> None:
    found = align(*maps(TURN, PAIRED), torch.arange(300), "sign")
    assert found.notes["residual"] > 0.1
    assert "nearly equal eigenvalues" in found.warnings[0]
    assert "coordinates 1 to 2" in found.warnings[0]


def test_symmetric_clouds_do_not_decide() -> None:
    x = torch.linspace(-1, 1, 200, dtype=torch.float64)[:, None]
    once = made(coordinates=x, laplace=torch.ones(1, dtype=torch.float64))
    assert "do not decide" in align(once, once, torch.arange(200), "closest_points").warnings[0]


@pytest.mark.parametrize("kind", ["kabsch", "closest_points"])
def test_different_numbers_of_coordinates(kind: Any) -> None:
    first, second = maps(FLIP, SIMPLE)
    second = made(coordinates=second.coordinates[:, :2], laplace=SIMPLE[:2])
    with pytest.raises(FitError, match=f"alignment: {kind} takes two maps of one number .* has 3, the target 2"):
        align(first, second, torch.arange(300), kind)
    assert align(first, second, torch.arange(300), "sign").notes["coordinates"] == 2


def test_words_that_do_not_fit_together_are_refused() -> None:
    x = normal(40, 2)
    keys = torch.stack([torch.arange(40), torch.zeros(40, dtype=torch.long)], 1)
    sets = ActivationSet(x, keys, None), ActivationSet(x, keys, None)
    base = {"coordinates": 2, "neighbours": "all"}
    for options, message in (
        ({"alignment": "sign", "sides": "source"}, "use sides: both"),
        ({"alignment": "closest_points", "inverse": "target", "pairs": 3}, "leave out pairs: 3"),
    ):
        with pytest.raises(FitError, match=message):
            fit_layer("diffusion", *sets, options=base | options)
    with pytest.raises(RecipeError, match=r"`alignment`: unknown value 'procrust'.*procrustes"):
        fit_layer("diffusion", *sets, options=base | {"alignment": "procrust"})
    with pytest.raises(RecipeError, match="alignment"):
        Recipe.load("paper/vector_fields", ["stitch.alignment=kabsh"])


@pytest.mark.parametrize("kind", ["procrustes", "sign", "kabsch", "blocks", "closest_points"])
def test_layers_are_fitted_with_every_kind(kind: str) -> None:
    """A cloud mapped to itself: the identity, whatever finds it."""
    x = torch.linspace(0, 1, 80, dtype=torch.float64)[:, None] ** 1.3
    x = torch.cat([x, x.square()], 1)
    keys = torch.stack([torch.arange(80), torch.zeros(80, dtype=torch.long)], 1)
    sets = ActivationSet(x, keys, None), ActivationSet(x, keys, None)
    layer = fit_layer("diffusion", *sets, options={"coordinates": 3, "neighbours": "all", "alignment": kind})
    assert layer.diagnostics["alignment"]["kind"] == kind
    assert layer.options["alignment"] == kind
    torch.testing.assert_close(layer(x), x, rtol=0, atol=1e-6)
