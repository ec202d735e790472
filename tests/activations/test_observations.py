"""Observations: finished values, of one hook point of the stitch and of as many further ones as are asked for."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from pico_recipes import reading

from hf_stitch.activations.observations import Observations
from hf_stitch.errors import ActivationError, HookError
from hf_stitch.hooks.capture import capture
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.runtime.runtime import Runtime
from hf_stitch.runtime.timings import Timings

SOURCE = ("roberta.encoder.layer.0.attention", "roberta.embeddings", "roberta.encoder.layer.1")
TARGET = ("transformer.layer.1",)


@pytest.fixture
def text(pico_roberta: Path, pico_xlnet: Path, written: Path) -> dict:
    return reading(pico_roberta, pico_xlnet, written)


def opened(content: dict, hooks: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())) -> Observations:
    return Observations.open(Recipe.parse(content), Runtime.start("cpu"), Timings(), ("fit", "test"), hooks)


def test_several_hook_points_a_side_are_collected_in_one_pass(text: dict) -> None:
    seen = opened(text, (SOURCE, TARGET))
    passes: list[int] = []
    handle = seen.source.model.register_forward_pre_hook(lambda *given: passes.append(1))
    seen = seen.collect()
    handle.remove()
    assert len(passes) == sum(len(frames.buckets) for frames in seen.frames.values()), "no pass more than for one"
    frames, samples = seen.frames["fit"], seen.samples["fit"]
    for i in (0, len(samples) - 1):
        inputs = seen.source.preparer.batch([samples.source(i)])
        with torch.no_grad():
            alone = capture(seen.source.model, list(seen.source.further), inputs)
        for module, values in zip(SOURCE, alone):
            torch.testing.assert_close(frames.at("source", module)[i], values[0], rtol=1e-4, atol=1e-5)
    assert frames.at("target", TARGET[0]).lengths.tolist() == frames.target.lengths.tolist()
    alone = opened(text).collect().frames["fit"].source
    assert torch.equal(frames.source.whole().values, alone.whole().values), "the stitch's own"


def test_further_hook_points_turn_with_the_sides(text: dict) -> None:
    seen = opened({**text, "directions": "both"}, (SOURCE[:1], TARGET)).collect()
    frames, back = seen.frames["test"], seen.swapped().frames["test"]
    assert back.at("target", SOURCE[0]) is frames.at("source", SOURCE[0])
    assert back.at("source", TARGET[0]) is frames.at("target", TARGET[0])


def test_what_was_not_collected_is_told(text: dict) -> None:
    frames = opened(text, (SOURCE[:1], ())).collect().frames["fit"]
    with pytest.raises(ActivationError, match=r"source: no activations were collected at 'roberta.pooler'; .*layer.0"):
        frames.at("source", "roberta.pooler")
    with pytest.raises(ActivationError, match="further hook points: none"):
        frames.at("target", TARGET[0])
    with pytest.raises(HookError, match="nowhere"):
        opened(text, (("nowhere",), ()))


def test_collecting_and_swapping_leave_the_observations_as_they_are(text: dict) -> None:
    first = opened({**text, "directions": "both"})
    part = first.collect(["fit"])
    assert (dict(first.frames), first.notes) == ({}, [])
    assert list(part.frames) == ["fit"]
    whole = part.collect(["test"])
    assert list(whole.frames) == ["fit", "test"]
    assert whole.frames["fit"] is part.frames["fit"]
    back = whole.swapped()
    assert (back.direction, whole.direction, back.swapped().direction) == ("backward", "forward", "forward")
    assert back.source is whole.target
    with pytest.raises(dataclasses.FrozenInstanceError):
        whole.direction = "backward"  # type: ignore[misc]
