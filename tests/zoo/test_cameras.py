"""Two cameras (section 4.4): the rendered solid, neighbours by id, errors against the truth, pictures on the page."""

from __future__ import annotations

import base64
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import paper_claims
import pytest
import torch

from hf_stitch.activations.activation_set import ActivationSet
from hf_stitch.activations.observations import Observations
from hf_stitch.errors import DataError, RecipeError, ZooError
from hf_stitch.evaluation.answer_kinds.base import Scope
from hf_stitch.evaluation.answer_kinds.numbers import truth_measures
from hf_stitch.evaluation.pictures import grid_of
from hf_stitch.experiments.fit import fit
from hf_stitch.experiments.fit_variant import shuffled
from hf_stitch.geometry.local_metrics.local_metric import LocalMetric
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.report.rendering.card import slim
from hf_stitch.report.rendering.page import page_for
from hf_stitch.report.rendering.sections.pictures import png
from hf_stitch.report.report import Report
from hf_stitch.runtime.runtime import Runtime
from hf_stitch.runtime.timings import Timings
from hf_stitch.stitching.correspondence import Correspondence
from hf_stitch.zoo import build as build_module
from hf_stitch.zoo import catalogue
from hf_stitch.zoo.cameras import cameras, solid
from hf_stitch.zoo.networks import autoencoder, tanh

SMALL = ("compare=[{name: shuffled/0, stitch: {shuffle: 0}}, {name: shuffled/1, stitch: {shuffle: 1}}]",)


@pytest.fixture(scope="module")
def report() -> Report:
    return fit("paper/two_cameras", overrides=SMALL, device="cpu")[1]


# --- what the recipe claims ---
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_the_other_view_is_decoded_from_two_pairs(report: Report, direction: str) -> None:
    paper_claims.the_other_view_is_decoded_from_two_pairs(report, direction, shuffles=2)


def test_networks_maps_and_neighbourhoods_know_the_same_views(report: Report) -> None:
    fit_views, test_views = cameras.numbers()
    assert report.diagnostics.fits["diffusion"]["rows"] == len(fit_views) == 72
    for name in cameras.network_names():
        record = json.loads((catalogue.resolve_model(name) / "training.json").read_text())
        assert record["training"]["pictures"] == len(fit_views)
        copied = record["figures"]["mean squared error, the nearest of 72 views copied"]
        assert record["figures"]["mean squared error, held-out angles"] < copied
    rows = rows_of(catalogue.resolve_data("zoo:cameras") / "fit.parquet")
    assert {row["angle"] for row in rows} == set(fit_views) == {k for row in rows for k in row["near"]}
    assert {row["angle"] for row in rows_of(catalogue.resolve_data("zoo:cameras") / "test.parquet")} == set(test_views)
    assert len(test_views) == 360
    assert not set(test_views) & set(fit_views)


def test_both_maps_are_of_one_circle(report: Report) -> None:
    maps = report.diagnostics.fits["diffusion"]
    source, target = (torch.tensor(maps[side]["laplace"]) for side in ("source", "target"))
    torch.testing.assert_close(source, target, rtol=0.05, atol=0)  # of 72 rows, each joined to its neighbours alone
    for values in (source, target):
        torch.testing.assert_close(values[0], values[1], rtol=0.005, atol=0)
    points = torch.tensor(maps["source"]["coordinates"])
    assert 0.9 <= (points.norm(dim=1) / 2**0.5).min() <= (points.norm(dim=1) / 2**0.5).max() <= 1.1


# --- the pictures ---
def test_a_sphere_is_where_it_should_be_and_lit_by_its_normal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solid, "ANIMAL", (solid.Ellipsoid((0.5, 0.0, 0.0), (0.4, 0.4, 0.4), 1.0),))
    views = solid.render(torch.tensor([0.0, math.pi]), 0.0)
    x = solid.REACH * (2 * (torch.arange(solid.SIDE) + 0.5) / solid.SIDE - 1)
    inside = (x[None, :] - 0.5) ** 2 + x[:, None] ** 2 < 0.3**2
    outside = (x[None, :] - 0.5) ** 2 + x[:, None] ** 2 > 0.55**2
    assert views[0][inside].min() >= 0.2
    assert views[0][outside].max() == 0
    assert views[1][outside.flip(1)].max() == 0, "half a turn brings it to the other side"
    row, column = divmod(int(views[0].argmax()), solid.SIDE)
    light = np.array(solid.LIGHT) / np.linalg.norm(solid.LIGHT)
    assert abs(float(x[column]) - 0.5 - 0.4 * light[0]) <= 0.1
    assert abs(-float(x[row]) - 0.4 * light[2]) <= 0.1


def test_what_is_nearer_hides_what_is_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    near, far = solid.Ellipsoid((0.0, -0.5, 0.0), (0.3,) * 3, 1.0), solid.Ellipsoid((0.0, 0.5, 0.0), (0.3,) * 3, 0.1)
    monkeypatch.setattr(solid, "ANIMAL", (near, far))
    both = solid.render(torch.zeros(1), 0.0)
    monkeypatch.setattr(solid, "ANIMAL", (near,))
    assert torch.equal(both, solid.render(torch.zeros(1), 0.0))
    monkeypatch.setattr(solid, "ANIMAL", (near, far))
    assert solid.render(torch.tensor([math.pi]), 0.0).max() <= 0.1 + 1 / 255


def test_views_do_not_depend_on_their_batch_and_differ_from_each_other() -> None:
    angles = torch.arange(0, 360, 5) * math.pi / 180
    for elevation in solid.CAMERAS.values():
        views = solid.render(angles, elevation)
        assert torch.equal(views[17:18], solid.render(angles[17:18], elevation))
        apart = torch.cdist(views.flatten(1), views.flatten(1)) + 1e3 * torch.eye(len(views))
        assert apart.min() > 0.1


def test_the_rendered_data_are_spread_evenly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, held = cameras.numbers()
    assert sorted(seen) == list(range(0, cameras.ANGLES, 50))
    for count in range(4, 72):
        first = sorted(seen[:count])
        gaps = [b - a for a, b in zip(first, [*first[1:], first[0] + cameras.ANGLES])]
        assert max(gaps) <= 2.2 * cameras.ANGLES / count
    assert abs(seen[-1] - seen[0]) * 360 / cameras.ANGLES == pytest.approx(270, abs=10)
    monkeypatch.setattr(cameras, "numbers", lambda: (seen[:30], held[:10]))
    monkeypatch.setattr(cameras, "NEAR", 5)
    monkeypatch.setenv("HF_STITCH_CACHE", str(tmp_path))
    folder = catalogue.resolve_data("zoo:cameras")
    assert folder == catalogue.resolve_data("cameras")
    rows = rows_of(folder / "fit.parquet")
    assert [row["angle"] for row in rows] == seen[:30]
    ordered = sorted(seen[:30])
    for row in rows:
        place = ordered.index(row["angle"])
        assert row["near"] == [ordered[(place + step) % 30] for step in (0, -1, 1, -2, 2)]
    np.testing.assert_allclose(rows[7]["below"], cameras.views("below", [seen[7]])[0], atol=1e-7)
    with pytest.raises(ZooError, match="no part 'cameras'"):
        build_module.build(tmp_path / "zoo", ["cameras"])


def rows_of(path: Path) -> list[dict[str, Any]]:
    from hf_stitch.zoo.parquet import read_rows

    return read_rows(path)


# --- the networks ---
def test_autoencoders_round_trip_and_learn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, held = cameras.numbers()
    monkeypatch.setattr(cameras, "numbers", lambda: (seen[:40], held[:5]))
    losses = {}
    for steps in (1, 40):
        done = cameras.train_network("camera-above", tmp_path / str(steps), lambda message: None, steps)
        assert done["pictures"] == 40
        losses[steps] = cameras.network_figures("camera-above", tmp_path / str(steps))
    assert len({*losses[40]}) == 3 + len(cameras.COPIED)
    copied = [losses[40][f"mean squared error, the nearest of {count} views copied"] for count in cameras.COPIED]
    assert copied == sorted(copied, reverse=True)
    assert losses[40]["mean squared error, held-out angles"] < 0.5 * losses[1]["mean squared error, held-out angles"]
    model = autoencoder.ConvAutoencoderModel.from_pretrained(tmp_path / "40").eval()
    inputs = torch.rand(3, 1024)
    assert torch.equal(model(inputs).logits, model.decoder(model.encoder(inputs)))
    assert model(inputs, return_dict=False)[0].shape == (3, 1024)
    assert model.config.layer_sizes == [1024, 6, 1024]


@pytest.mark.parametrize("name", cameras.network_names())
def test_the_shipped_autoencoders_reach_their_figures(name: str) -> None:
    record = json.loads((catalogue.resolve_model(name) / "training.json").read_text())["figures"]
    again = cameras.network_figures(name, catalogue.resolve_model(name))
    unexplained, recorded = (1 - figures["R2, held-out angles"] for figures in (again, record))
    assert unexplained == pytest.approx(recorded, rel=0.1), "the record is of these weights; rounding differs by torch"
    assert again["R2, held-out angles"] >= 0.97


# --- neighbours by id ---
def small_recipe(*overrides: str) -> Recipe:
    return Recipe.load("paper/two_cameras", ["compare=[]", "data.fit.samples=40", *overrides])


def seen(recipe: Recipe) -> Observations:
    return Observations.open(recipe, Runtime.start("cpu"), Timings(), ("fit",)).collect()


def test_neighbours_by_id_give_the_covariance_of_their_codes() -> None:
    recipe = small_recipe("neighborhoods.size=5")
    observations = seen(recipe)
    metric, summary = Correspondence(observations, recipe).metric("target")
    samples = observations.samples["fit"]
    rows = samples.neighbour_rows([5])[0, :5]
    assert samples.whole is not None
    assert samples.whole.keys[rows[0]] == samples.keys[5]
    with torch.no_grad():
        codes = observations.target.model.encoder(torch.tensor(np.stack(samples.whole.batch(rows.tolist(), 1))).float())
    moves = (codes - codes[0]).double()
    values, vectors = torch.linalg.eigh(moves.mT @ moves / 5)
    expected = vectors[:, -1] / values[-1].sqrt()
    torch.testing.assert_close(metric.factors[5, 0].double().abs(), expected.abs(), rtol=1e-3, atol=1e-3)
    assert summary["rank"] == 1
    assert observations.swapped().samples["fit"].true_answers(1) is not None


def test_ids_of_neighbours_must_be_known_and_as_many_everywhere(tmp_path: Path) -> None:
    def opened(near: list[Any]) -> Any:
        lines = [json.dumps({"x": [float(k), 0.0], "id": k, "near": one}) for k, one in enumerate(near)]
        (tmp_path / "rows.jsonl").write_text("\n".join(lines))
        side = {"model": "zoo:identity-2", "hook": "layers.0"}
        columns = {"source": "x", "id": "id", "neighbours": "near"}
        data = {"fit": {"dataset": str(tmp_path / "rows.jsonl"), "columns": columns, "samples": 3}}
        asked = {"source": side, "target": side, "data": data, "neighborhoods": {"kind": "given"}}
        recipe = Recipe.parse({**asked, "stitch": {"method": "diffusion"}})
        return Observations.open(recipe, Runtime.start("cpu"), Timings(), ("fit",)).samples["fit"]

    assert opened([[0, 4], [1, 2], [2, 3], [3, 4], [4, 0]]).neighbour_rows([0, 2]).tolist() == [[0, 4], [2, 3]]
    with pytest.raises(DataError, match="the id '9', which no row has"):
        opened([[0, 9], [1, 2], [2, 3], [3, 4]]).neighbour_rows([0])
    with pytest.raises(DataError, match="no list of ids"):
        opened([[], [1, 2], [2, 3], [3, 4]]).neighbour_rows([0])
    with pytest.raises(DataError, match="have 1 to 2 neighbours in column 'near'"):
        opened([[0, 1], [1], [2, 3], [3, 1]]).neighbour_rows([0, 1])
    with pytest.raises(RecipeError, match="or neighbours with ids"):
        Recipe.load("paper/two_cameras", ["data.fit.columns.neighbours=null"])


# --- references and controls ---
def test_shuffled_rows_keep_their_metrics_but_not_their_keys() -> None:
    x = torch.arange(12.0)[:, None]
    keys = torch.stack([torch.arange(12), torch.zeros(12, dtype=torch.long)], 1)
    rows = ActivationSet(x, keys, LocalMetric.from_jacobian(1 / (1 + x)[..., None]))
    found = shuffled(rows, 3)
    assert torch.equal(found.keys, keys)
    assert not torch.equal(found.values, x)
    assert torch.equal(found.values.sort(0).values, x)
    assert found.metric is not None
    torch.testing.assert_close(found.metric.factors[:, 0, 0].abs().float(), 1 + found.values[:, 0])
    assert torch.equal(shuffled(rows, 3).values, found.values)


def test_errors_against_the_truth_are_those_of_numpy() -> None:
    generator = np.random.default_rng(0)
    truth, given = generator.normal(size=(50, 7)), generator.normal(size=(50, 7))
    error, explained = truth_measures("m", given, truth, Scope("test", "forward", 0))
    assert error.value == pytest.approx(((given - truth) ** 2).mean())
    assert explained.value == pytest.approx(
        1 - ((given - truth) ** 2).sum() / ((truth - truth.mean(0)) ** 2).sum(), rel=1e-9
    )
    with pytest.raises(DataError, match="rows of 7 numbers, the target's outputs of 3"):
        truth_measures("m", given[:, :3], truth, Scope("test", "forward", 0))


def test_the_nearest_view_is_found_among_the_pairs_that_are_known(report: Report) -> None:
    views, held = (cameras.views("above", chosen) for chosen in cameras.numbers())
    partners, true = (cameras.views("below", chosen) for chosen in cameras.numbers())
    copied = partners[torch.cdist(held, views).argmin(1)]
    assert report.value("answer_mse", "nearest") == pytest.approx((copied - true).square().mean().item(), rel=0.01)
    assert (report.value("answer_mse", "nearest") or 1) < (report.value("answer_mse", "nearest-pair") or 0)
    recipe = Recipe.load("paper/two_cameras", SMALL)
    observations = Observations.open(recipe, Runtime.start("cpu"), Timings())
    fit_views, test_views = (np.stack(observations.samples[s].batch(range(40), 0)) for s in ("fit", "test"))
    assert fit_views.shape == test_views.shape == (40, 1024)


# --- the page ---
def test_pictures_are_drawn_for_both_directions(report: Report) -> None:
    found = report.diagnostics.pictures
    assert list(found) == ["forward", "backward"]
    for side in found.values():
        assert side["shape"] == [32, 32]
        assert list(side["rows"]) == ["source's input", "stitched", "what should be answered", "target's own answer",
                                      "nearest fit sample", "nearest known pair"]  # fmt: skip
        assert all(len(row) == len(side["samples"]) == 8 for row in side["rows"].values())
    assert found["forward"]["rows"]["source's input"] == found["backward"]["rows"]["what should be answered"]
    page = page_for(report)
    _, _, drawn = page.partition("<h2>Pictures</h2>")
    assert drawn.partition("<h2>")[0].count('src="data:image/png;base64,') == 2 * 6 * 8
    assert len(report.diagnostics.colour) == 72
    kept = slim(report).diagnostics
    assert kept.pictures is kept.colour is None
    assert "<h2>Pictures</h2>" not in page_for(slim(report))


def test_a_png_holds_the_grey_levels() -> None:
    from PIL import Image

    levels = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
    url = png(levels.tobytes(), 2, 3)
    picture = Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/png;base64,"))))
    np.testing.assert_array_equal(np.asarray(picture), levels)
    assert png(b"abc", 2, 3) == ""


def test_only_outputs_that_fill_the_shape_are_pictures() -> None:
    assert grid_of(autoencoder.ConvAutoencoderConfig(), 1024) == (32, 32)
    assert grid_of(autoencoder.ConvAutoencoderConfig(), 6) is None
    assert grid_of(tanh.TanhNetworkConfig(), 1) is None
