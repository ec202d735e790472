"""Condition numbers and singular places, against maps of which they are known; and as a fit draws them."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hf_stitch.activations.observations import Observations
from hf_stitch.evaluation.invertibility_grid import invertibility_over_grid
from hf_stitch.experiments.comparison import Comparison
from hf_stitch.experiments.fit import fit
from hf_stitch.geometry.invertibility.jacobians import (
    CEILING,
    GRID,
    WIDER,
    Box,
    along,
    condition,
    jacobians,
    leading,
    orientation,
    singular,
)
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.report.rendering.card import slim
from hf_stitch.report.rendering.page import page_for
from hf_stitch.report.report import Report
from hf_stitch.runtime.runtime import Runtime
from hf_stitch.runtime.timings import Timings

Map = Callable[[Tensor], Tensor]


def box(d: int) -> Box:
    corners = torch.tensor([[-1.0] * d, [1.0] * d], dtype=torch.float64)
    return Box.around(corners)


def of(function: Map, d: int, where: Box | None = None) -> tuple[Box, Tensor, Tensor]:
    """The box, condition numbers and singular places of a map over [-1, 1]^d and twice as far."""
    where = where or box(d)
    found = jacobians(function, where.points)
    assert found is not None
    values = condition(found, where.inside)
    return where, values, singular(values, orientation(found), where.inside)


def linear(matrix: list[list[float]]) -> Map:
    return lambda x: x @ torch.tensor(matrix, dtype=torch.float64).T


C, S = math.cos(0.7), math.sin(0.7)


@pytest.mark.parametrize(
    ("matrix", "wanted"),
    [
        ([[C, -S], [S, C]], 1.0),
        ([[C, S], [S, -C]], 1.0),
        ([[5 * C, -5 * S], [5 * S, 5 * C]], 1.0),
        ([[3.0, 0.0], [0.0, 0.5]], 6.0),
        ([[-3.0, 0.0], [0.0, 0.5]], 6.0),
        ([[1.0, 1.0], [0.0, 1.0]], (1 + math.sqrt(5)) ** 2 / 4),
        ([[2.0, 0.0], [0.0, 7.0], [0.0, 0.0]], 3.5),
    ],
    ids=["rotation", "reflection", "scaled", "diagonal", "mirrored", "shear", "into space"],
)
def test_linear_maps_have_the_ratio_of_their_stretches_everywhere(matrix: list[list[float]], wanted: float) -> None:
    _, values, odd = of(linear(matrix), 2)
    torch.testing.assert_close(values, torch.full_like(values, wanted))
    assert not odd.any(), "a reflection turns all over, and folds nothing"


def test_a_parabola_is_singular_at_its_vertex_alone_and_folded_beyond_it() -> None:
    one = Box.around(torch.tensor([[-1.0], [0.5]], dtype=torch.float64))
    where, values, odd = of(lambda x: x**2, 1, one)
    x = where.points[:, 0]
    usual = float((2 * x[where.inside]).abs().median())
    wanted = torch.maximum((2 * x).abs(), torch.tensor(usual, dtype=torch.float64)) / (2 * x).abs()
    torch.testing.assert_close(values, wanted.clamp_max(CEILING))
    assert torch.equal(odd, (x >= 0) | ((2 * x).abs() < usual / 100)), (
        "the larger part of what was fitted is not beyond"
    )
    _, whole, _ = of(lambda x: torch.cat([x, x**2], 1), 1)
    assert float(whole.max()) < 5, "with its input beside it a parabola is one to one"


def test_where_all_stretches_vanish_together() -> None:
    """z -> z^2 keeps angles: its two stretches are equal, and at 0 both are nothing."""
    where, values, odd = of(lambda x: torch.stack([x[:, 0] ** 2 - x[:, 1] ** 2, 2 * x[:, 0] * x[:, 1]], 1), 2)
    radius = where.points.norm(dim=1)
    usual = float(2 * radius[where.inside].median())
    torch.testing.assert_close(values, (usual / (2 * radius)).clamp(1, CEILING))
    assert torch.equal(odd, radius < 1e-9)


def test_a_fold_in_the_plane_is_a_line() -> None:
    where, values, odd = of(lambda x: torch.stack([x[:, 0] ** 2 + x[:, 0] / 2, x[:, 1]], 1), 2)
    x = where.points[:, 0]
    assert torch.equal(odd, x <= -0.25 + 1e-9), "the slope 2 x + 1/2 changes its sign there"
    torch.testing.assert_close(values[x == 2].unique(), torch.tensor([4.5], dtype=torch.float64))


def test_constants_and_lost_directions_are_singular_everywhere() -> None:
    for function in (lambda x: 0 * x, lambda x: x[:, :1] + x[:, 1:], lambda x: torch.cat([x[:, :1]] * 3, 1)):
        _, values, odd = of(function, 2)
        assert bool((values == CEILING).all())
        assert bool(odd.all())


def test_what_has_no_derivative() -> None:
    points = box(1).points
    assert jacobians(lambda x: points[torch.cdist(x, points).argmin(1)], points) is None
    rooted = condition(torch.tensor([[[1.0]], [[math.nan]], [[math.inf]]]), torch.tensor([True, False, False]))
    assert rooted.tolist() == [1, CEILING, CEILING]


def test_a_map_along_a_cloud_does_not_hang_on_how_the_cloud_is_stretched() -> None:
    """From the bent cloud f(x) by a linear map to g(f(x)): in tangents of f, whatever the inputs are."""
    inside = box(2)

    def bent(x: Tensor) -> Tensor:
        return torch.cat([torch.sinh(x), x[:, :1] * 40], 1)

    matrix = torch.tensor([[C, -S, 0], [S, C, 0], [0, 0, 2]], dtype=torch.float64)
    source = jacobians(bent, inside.points)
    mapped = jacobians(lambda x: bent(x) @ matrix.T, inside.points)
    assert source is not None
    assert mapped is not None
    values = condition(along(mapped, source), inside.inside)
    assert float(condition(mapped, inside.inside).max()) > 20, "the inputs are stretched by more"
    assert float(values.max()) <= 2 + 1e-9
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64))[0]
    turned = jacobians(lambda x: bent(x) @ rotation, inside.points)
    assert turned is not None
    torch.testing.assert_close(condition(along(turned, source), inside.inside), torch.ones_like(values))


def test_the_box_is_that_of_the_inputs_and_beyond() -> None:
    found = Box.around(torch.tensor([[0.0, 2.0], [1.0, 3.0], [0.5, 4.0]]))
    assert found.points.shape == (GRID[2] ** 2, 2)
    inner = found.points[found.inside]
    assert inner.amin(0).tolist() == pytest.approx([0, 2])
    assert inner.amax(0).tolist() == pytest.approx([1, 4])
    assert (found.points.amax(0) - found.points.amin(0)).tolist() == pytest.approx([WIDER, 2 * WIDER])
    assert torch.equal(torch.cartesian_prod(*found.axes), found.points)


# as a fit draws them


@pytest.fixture(scope="module")
def folding() -> Report:
    content = Recipe.load("paper/output_fold", ["neighborhoods.size=64", "compare=[]", "directions=forward"])
    return fit(content, device="cpu")[1]


def test_the_output_of_a_parabola_folds_outside_of_what_was_fitted(folding: Report) -> None:
    found = folding.diagnostics.jacobian
    axis = torch.tensor(found["source"]["axes"][0])
    turns = axis[1:][torch.tensor(found["source"]["singular"]).diff() != 0]
    assert float(turns[0]) == pytest.approx(0, abs=0.02), "the parabola's vertex, the end of the fitted range"
    assert len(turns) == 1
    assert found["source"]["wider"]["singular_share"] == pytest.approx(0.25, abs=0.02)
    assert found["map"]["wider"]["singular_share"] <= 0.02, "but for a ripple at the end of the cloud"
    assert found["target"]["low"] == pytest.approx([-1], abs=1e-6)
    assert found["map"]["inside"]["condition_95"] < 1.5, "both outputs are the same parabola"
    assert folding.value("singular_share", split="domain") == found["map"]["inside"]["singular_share"]
    assert folding.value("condition_max", split="domain") == found["map"]["inside"]["condition_max"]
    far = {one.get("kind") for one in folding.diagnostics.error_by_distance}
    assert far == {None, "just outside the box", "outside the box"}, "both networks read the same number"
    assert folding.measure("output_mse_kept", split="probe/just outside the box").n
    page = page_for(folding)
    assert page.count("<figcaption>Input to the source&#39;s neurons") == 1
    assert "Where it can be inverted" in page
    assert "mathdefault" not in page
    assert "Input to the source&#39;s neurons, where it was fitted" in page_for(slim(folding)), "numbers, no drawing"
    assert "axes" not in slim(folding).diagnostics.jacobian["source"]


def test_vector_fields_are_drawn_over_the_square() -> None:
    report = fit("paper/vector_fields", overrides=["compare=[]", "data.fit.samples=400"], device="cpu")[1]
    found = report.diagnostics.jacobian
    for side in ("source", "target"):
        assert 1 < found[side]["inside"]["condition_median"] < 20
        assert found[side]["inside"]["singular_share"] == 0
        assert len(found[side]["condition"]) == GRID[2] ** 2
    assert found["map"]["inside"]["condition_median"] < 10
    assert page_for(report).count("<figcaption>Source&#39;s neurons to where they are mapped, along the cloud") == 1


def test_leading_directions() -> None:
    draw = torch.Generator().manual_seed(0)
    cloud = torch.randn(400, 5, generator=draw, dtype=torch.float64) * torch.tensor([1.0, 10, 0.1, 5, 0.1])
    directions, held = leading(cloud + 7)
    assert directions.shape == (5, 2)
    torch.testing.assert_close(directions.abs()[[1, 3], [0, 1]], torch.ones(2, dtype=torch.float64), rtol=0, atol=0.01)
    assert 0.98 < held < 1
    again, same = leading(cloud + 7, most=3, few_features=4)
    torch.testing.assert_close((again.T @ directions).abs(), torch.eye(2, dtype=torch.float64))
    assert same == pytest.approx(held)
    assert leading(cloud, most=1, few_features=4)[0].shape == (5, 1)
    assert leading(cloud, share=1.0)[0].shape == (5, 5)


def test_inputs_without_a_grid_are_asked_at_held_out_activations(
    pico_roberta: Path, pico_xlnet: Path, written: Path
) -> None:
    """Texts: an affine map has one Jacobian, whose singular values along the cloud are known."""
    from pico_recipes import reading

    content = Recipe.parse(reading(pico_roberta, pico_xlnet, written))
    observations = Observations.open(content, Runtime.start("cpu"), Timings()).collect()
    comparison = Comparison(content, observations)
    fitted = comparison.fit("affine", content)
    measures, found = invertibility_over_grid(fitted)
    rows = found["jacobian"]["rows"]
    source, _ = fitted.correspondence.rows("fit")
    directions, held = leading(source.whole().values)
    stretches = torch.linalg.svdvals(
        fitted.model.layer.predict(directions.T) - fitted.model.layer.predict(0 * directions.T)
    )
    assert rows["condition"] == pytest.approx([float(stretches[0] / stretches[-1])] * 18, rel=1e-3)
    assert (rows["directions"], rows["held"], rows["inside"]["n"]) == (directions.shape[1], held, 18)
    assert {m.name for m in measures} == {"condition_median", "condition_95", "singular_share"}
    assert all(m.low <= m.value <= m.high and m.split == "activations" for m in measures)
    report = fit(content, device="cpu")[1]
    assert report.diagnostics.jacobian["rows"] == rows
    page = page_for(report)
    assert "along the first" in page
    assert "principal directions of the fitted ones" in page
    # The same everywhere but for rounding, which decides whether it is drawn or said.
    said = f"{rows['condition'][0]:.4g} throughout" in page
    assert page.count("<figcaption>Condition numbers at held-out activations") == (0 if said else 1)
    assert "principal directions" in page_for(slim(report))
