"""Multiply-adds of a stitched model against closed forms and against one whole forward pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pico_recipes
import pytest
import torch
from tiny_models import tiny

from hf_stitch.experiments.evaluate import evaluate
from hf_stitch.experiments.fit import fit
from hf_stitch.hooks.probe_inputs import make_inputs_for
from hf_stitch.models.cost import counted, multiply_adds, whole_multiply_adds
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.report.report import Report

T = 24


@pytest.fixture(scope="module")
def reader(pico_roberta: Path, pico_xlnet: Path, written: Path) -> tuple[StitchedModel, Report]:
    """RoBERTa's first block onto XLNet's, affine, by trimming: as many positions on both sides."""
    sequence = {"length": "trim", "target_length": "oracle"}
    return fit(Recipe.parse(pico_recipes.reading(pico_roberta, pico_xlnet, written, sequence=sequence, trust="none")))


def roberta_block(config: Any, t: int) -> int:
    """Four projections, scores and weighted values, two layers of the feed-forward network."""
    return (
        4 * t * config.hidden_size**2
        + 2 * t * t * config.hidden_size
        + 2 * t * config.hidden_size * config.intermediate_size
    )


def xlnet_block(config: Any, t: int) -> int:
    """As RoBERTa's, and the projection of the 2 t relative positions with the scores that they give."""
    d = config.d_model
    return 4 * t * d * d + 2 * t * d * d + 2 * t * t * d + t * 2 * t * d + 2 * t * d * config.d_inner


def test_parts_are_those_of_the_closed_forms(reader: tuple[StitchedModel, Report]) -> None:
    model, _ = reader
    found = multiply_adds(model, T)
    source, target = model.config.source, model.config.target
    d, blocks = target.d_model, target.n_layer - 1  # the hook is behind the first
    assert (found["source_positions"], found["target_positions"]) == (T, T)
    assert found["prefix"] == roberta_block(source, T)
    assert found["layer"] == T * source.hidden_size * d
    assert found["suffix"] == blocks * xlnet_block(target, T) + d * d + d * target.num_labels
    assert found["total"] == found["prefix"] + found["layer"] + found["suffix"]


def test_the_total_is_that_of_one_forward_pass(reader: tuple[StitchedModel, Report]) -> None:
    model, _ = reader
    inputs = make_inputs_for(model.prefix)(1, T)
    _, whole = counted(lambda: model(**inputs, target_lengths=torch.tensor([T])))
    assert whole == multiply_adds(model, T)["total"]


def test_whole_models(pico_roberta: Path) -> None:
    model = tiny("roberta")
    d = model.config.hidden_size
    head = d * d + d * model.config.num_labels
    assert whole_multiply_adds(model, T) == model.config.num_hidden_layers * roberta_block(model.config, T) + head


def test_the_report_and_an_evaluation_of_it_say_the_same(
    reader: tuple[StitchedModel, Report], pico_roberta: Path, pico_xlnet: Path
) -> None:
    model, report = reader
    found = report.parameters["multiply_adds"]
    assert {key: found[key] for key in multiply_adds(model)} == multiply_adds(model)
    assert found["total"] < found["source_whole"] + found["target_whole"]
    assert evaluate(model).parameters == report.parameters
    parts = report.parameters
    assert parts["total"] == parts["prefix"] + parts["layer"] + parts["suffix"]


def test_frames_in_words(pico_wav2vec2: Path, pico_xlnet: Path, spoken: Path, pico_listener: Path) -> None:
    content = pico_recipes.listening(pico_listener, pico_xlnet, spoken, trust="none", stitch={"method": "affine"})
    del content["data"]["test"]
    model, _ = fit(Recipe.parse(content))
    found = multiply_adds(model)
    assert found["source_positions"] == 250
    assert found["target_positions"] == 16 + 2, "a word each 16 frames, and the two tokens round a text"
    assert found["layer"] >= 16 * 2 * 16 * 16
