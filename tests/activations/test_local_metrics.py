"""Local metrics of paired rows: the same whatever is run together, in memory that neighbours do not fill."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from forward_passes import forward_passes
from local_metrics import metric_of, vectors
from pico_recipes import correspondence, listening, observations, reading
from safetensors.torch import load_file
from torch import Tensor

from hf_stitch.activations import collection, local_metrics
from hf_stitch.activations.local_metrics import collect_metric
from hf_stitch.activations.neighborhoods import Neighborhood, perturbations
from hf_stitch.geometry.local_metrics.covariance_sketch import CovarianceSketch
from hf_stitch.geometry.local_metrics.local_metric import LocalMetric
from hf_stitch.recipe.overrides import merge
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.recipe.side import Role
from hf_stitch.runtime.cache import cache_folder
from hf_stitch.stitching.correspondence import Correspondence


def inverse(metric: LocalMetric) -> Tensor:
    """(n, m, m) matrices of the forms."""
    unit = torch.eye(metric.features, dtype=torch.float64)
    form = metric.factors.double().mT @ metric.factors.double()
    return metric.scale.double()[:, None, None] * unit + metric.sign * form


def alike(a: LocalMetric, b: LocalMetric, rtol: float = 1e-2) -> None:
    first, second = inverse(a), inverse(b)
    assert first.shape == second.shape
    size = second.flatten(1).norm(dim=1)
    off = (first - second).flatten(1).norm(dim=1)
    assert float((off / size).median()) < rtol / 10
    assert float((off / size).max()) < rtol


@pytest.fixture
def text(pico_roberta: Path, pico_xlnet: Path, written: Path) -> dict:
    """Few samples, regularised metrics: small changes of the neighbours change them little."""
    few = {"data": {"fit": {"samples": 12}}, "neighborhoods": {"eta": 0.5, "rank": "auto"}}
    return reading(pico_roberta, pico_xlnet, written, **few)


@pytest.fixture
def speech(pico_listener: Path, pico_xlnet: Path, spoken: Path) -> dict:
    few = {"data": {"fit": {"samples": 12}}, "neighborhoods": {"eta": 0.5, "rank": "auto"}}
    return listening(pico_listener, pico_xlnet, spoken, **few)


def test_one_metric_for_each_paired_row_in_their_order(speech: dict) -> None:
    rows_of_all = correspondence(speech)
    opened, pairing, recipe = rows_of_all.observations, rows_of_all.fitted, rows_of_all.recipe
    whole, facts = rows_of_all.metric("source")
    assert len(whole) == len(pairing)
    assert whole.features == 2 * 16
    assert facts.keys() == {"dimension", "rank", "local_spectrum"}
    assert facts["rank"] == whole.rank <= 4
    assert facts["local_spectrum"][0] == 1
    assert facts["local_spectrum"] == sorted(facts["local_spectrum"], reverse=True)
    # a sample alone has the rows of its own, found by its place in the pairing
    lone = next(i for i, pairs in enumerate(pairing.pairs) if len(pairs.position) > 1)
    rows = (pairing.keys[:, 0] == lone).nonzero()[:, 0]
    inputs = opened.source.preparer.batch([opened.samples["fit"].source(lone)])
    key, end, asked = [opened.samples["fit"].keys[lone]], opened.source, recipe.neighborhoods
    around = Neighborhood("gaussian", asked.size, asked.delta / 4, recipe.seed)
    sketch = CovarianceSketch(len(rows), whole.features, asked.max_rank)
    for moved in perturbations(end.model, end.selected, inputs, key, around, 64):
        means = [[moved[0, :, start:end].mean(1) for start, end in row] for row in pairing.pairs[lone].source.tolist()]
        sketch.add(torch.stack([torch.cat(row, 1) for row in means]))
    alone = LocalMetric.from_spectrum(*sketch.spectrum(), asked.eta, asked.rank, around.width)
    alike(whole.take(rows), alone)


@pytest.mark.parametrize("role", ["source", "target"])
def test_batches_and_chunks_change_nothing(text: dict, role: Role, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = metric_of(text, role)
    monkeypatch.setattr(collection, "SEQUENCE_BATCH", 5)  # other neighbours in a batch, other padding
    monkeypatch.setattr(local_metrics, "SAMPLES_AT_ONCE", {"vector": 1, "other": 1})  # one neighbour at a time
    monkeypatch.setenv("HF_STITCH_CACHE", str(cache_folder() / "again"))
    second, _ = metric_of(text, role)
    alike(first, second)


@pytest.mark.parametrize(("role", "end"), [("source", "roberta"), ("target", "xlnet")])
def test_the_side_of_the_padding_changes_nothing(text: dict, role: Role, end: str) -> None:
    kept, turned = observations(text), observations(text)
    side = turned.source if role == "source" else turned.target
    sides = {"left": "right", "right": "left"}
    side.preparer.tool.padding_side = sides[side.preparer.tool.padding_side]
    assert end in side.side.model
    found: list[LocalMetric] = []
    recipe = Recipe.parse(text)
    first = Correspondence(kept.collect(), recipe)
    for opened in (first.observations, turned.collect()):
        windows = [pairs.source if role == "source" else pairs.target for pairs in first.fitted.pairs]
        part = opened.source if role == "source" else opened.target
        frames = dataclasses.replace(opened.frames["fit"], key=part.tokenizer.padding_side)  # a cache of its own
        fit = opened.samples["fit"]
        found.append(collect_metric(recipe, role, part, fit, frames, windows, opened.runtime)[0])
    alike(*found)


@pytest.mark.parametrize("kind", ["text", "speech"])
def test_gaussian_metrics_become_exact_ones_in_small_neighbourhoods(request: Any, kind: str) -> None:
    few = {"data": {"fit": {"samples": 4}}, "neighborhoods": {"delta": 4e-4, "size": 24, "max_rank": 48}}
    content = merge(request.getfixturevalue(kind), few)
    drawn, _ = metric_of(content)
    exact, _ = metric_of(merge(content, {"neighborhoods": {"kind": "jacobian"}}))
    assert drawn.width == exact.width == pytest.approx(1e-4)
    alike(drawn, exact, rtol=0.05)


def test_vectors_have_exact_metrics(tmp_path: Path) -> None:
    content = vectors(tmp_path)
    wide = {"neighborhoods": {"kind": "gaussian", "delta": 1e-4, "size": 4000, "max_rank": 2, "rank": 2}}
    drawn, _ = metric_of(merge(content, wide))
    exact, _ = metric_of(merge(content, {"neighborhoods": {"kind": "jacobian", "rank": 2}}))
    # exact neighbourhoods are scaled by their own width: compare the forms in units of the input
    units = drawn.width**2, exact.width**2
    first, second = inverse(drawn) * units[0], inverse(exact) * units[1]
    off = (first - second).flatten(1).norm(dim=1) / second.flatten(1).norm(dim=1)
    assert float(off.median()) < 0.05


@pytest.mark.parametrize("size", [3, 40])
def test_memory_does_not_grow_with_the_number_of_neighbours(text: dict, size: int) -> None:
    """What a sketch holds of them is bounded too: `test_sketch_stays_small_and_near`."""
    opened = correspondence(merge(text, {"neighborhoods": {"size": size, "max_rank": 3}}))
    end, samples = opened.observations.source, len(opened.observations.samples["fit"])
    runs = forward_passes(end.model.get_submodule(end.side.hook))
    opened.metric("source")
    together = [len(run["0"]) for run in runs if len(run["0"]) >= samples]  # not the few rows that probe the model
    assert sum(together) == samples * (1 + size), "the samples themselves and all their neighbours"
    # as many samples run together as are fed to one batch, however many neighbours there are
    assert max(together) <= local_metrics.SAMPLES_AT_ONCE["other"]
    for path in cache_folder().glob("*/metric-*"):
        assert load_file(path)["directions"].shape[1] <= 3


def test_selected_features_have_metrics_of_their_own(text: dict) -> None:
    whole, _ = metric_of(text)
    some, _ = metric_of(merge(text, {"source": {"features": {"every": 4}}}))
    assert (whole.features, some.features) == (16, 4)


def test_a_second_variant_asks_for_nothing_new(text: dict) -> None:
    opened = correspondence(text)
    first, _ = opened.metric("source")
    another = Correspondence(
        opened.observations, Recipe.parse(merge(text, {"stitch": {"method": "rbf"}})), opened.shared
    )
    assert another.metric("source")[0] is first
    same, other = correspondence(text), correspondence(merge(text, {"neighborhoods": {"eta": 0.1}}))
    runs = [forward_passes(rows.observations.source.model) for rows in (same, other)]
    assert torch.equal(same.metric("source")[0].factors, first.factors)
    assert other.metric("source")[0].sign == -1  # another inverse of the same covariances
    samples = len(opened.observations.samples["fit"])
    for seen in runs:  # what is made up to probe the model has fewer rows
        assert all(len(run["input_ids"]) < samples for run in seen), "no sample and no neighbour was run again"


@pytest.mark.parametrize("change", [{"seed": 1}, {"neighborhoods": {"delta": 0.1}}, {"sequence": {"per_sample": 2}}])
def test_other_neighbours_are_drawn_for_other_requests(text: dict, change: dict) -> None:
    metric_of(text)
    before = len(list(cache_folder().glob("*/metric-*")))
    metric_of(merge(text, change))
    assert len(list(cache_folder().glob("*/metric-*"))) == 2 * before


def test_missing_parts_are_made_again(text: dict) -> None:
    first, _ = metric_of(text)
    parts = sorted(cache_folder().glob("*/metric-*"))
    parts[0].unlink()
    again, _ = metric_of(text)
    assert torch.equal(again.factors, first.factors)
    assert sorted(cache_folder().glob("*/metric-*")) == parts


def test_batches_without_any_row_are_left_out(speech: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples in which no word was recognised: a whole batch of them has no rows."""
    monkeypatch.setattr(collection, "SEQUENCE_BATCH", 2)
    rows = correspondence(speech)
    opened = rows.observations
    samples, frames = opened.samples["fit"], opened.frames["fit"]
    bucket = frames.buckets[1]
    windows = [pairs.source[:0] if i in bucket else pairs.source for i, pairs in enumerate(rows.fitted.pairs)]
    found, _ = collect_metric(rows.recipe, "source", opened.source, samples, frames, windows, opened.runtime)
    assert len(found) == sum(map(len, windows)) < len(rows.fitted)


def test_as_many_neighbours_run_together_as_their_length_allows() -> None:
    assert local_metrics.at_once("vector", 100, 1) == 655
    assert local_metrics.at_once("audio", 16, 100) == 4, "2 s: as for texts"
    assert local_metrics.at_once("audio", 8, 1500) == 1, "30 s"
    assert local_metrics.at_once("vector", 650, 100) == 1
