"""How activations are collected and stored: together by tokens, in fewer digits; what is seen stays what it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pico_recipes import listening, observations, reading

from hf_stitch import Recipe, StitchedModel, fit
from hf_stitch.activations.collection import buckets_of
from hf_stitch.activations.frames import Frames
from hf_stitch.activations.observations import Observations
from hf_stitch.errors import RecipeError
from hf_stitch.recipe.overrides import merge
from hf_stitch.runtime.cache import cache_folder

LONG = " ".join(["the film was very good"] * 7)


@pytest.fixture
def text(pico_roberta: Path, pico_xlnet: Path, written: Path) -> dict:
    return reading(pico_roberta, pico_xlnet, written)


@given(st.lists(st.integers(0, 60), max_size=50), st.integers(1, 200))
@settings(deadline=None, max_examples=60)
def test_buckets_hold_no_more_tokens_than_asked(lengths: list[int], tokens: int) -> None:
    found = buckets_of(lengths, 16, tokens)
    assert sorted(i for bucket in found for i in bucket) == list(range(len(lengths)))
    assert sorted(lengths) == [lengths[i] for bucket in found for i in bucket]
    for bucket, after in zip(found, (*found[1:], None)):
        padded = len(bucket) * max(lengths[i] for i in bucket)
        assert padded <= tokens or len(bucket) == 1
        assert after is None or (len(bucket) + 1) * lengths[after[0]] > tokens, "none is smaller than it need be"


def collected(content: dict[str, Any]) -> tuple[Frames, Observations, list[int]]:
    """Frames of the fit, and the samples of each forward pass of the source."""
    opened, passes = observations(content), list[int]()
    counting = opened.source.model.register_forward_pre_hook(
        lambda model, args, kwargs: passes.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    try:
        return opened.collect(["fit"]).frames["fit"], opened, passes
    finally:
        counting.remove()


def test_many_short_texts_run_together_and_few_long_ones(text: dict, tmp_path: Path) -> None:
    rows = [{"text": "good film"}] * 40 + [{"text": LONG}] * 10
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {"data": {"fit": {"dataset": str(path), "columns": {"source": "text"}}}}
    asked = merge({**text, "data": {}}, data)
    before, opened, usual = collected(asked)
    after, _, passes = collected({**asked, "collect": {"tokens": 160}})
    assert max(usual) == 16
    assert max(passes) > 16 > 4 >= min(passes)
    lengths = [opened.source.preparer.length(row["text"]) for row in (rows[0], rows[-1])]
    assert all(count * lengths[0] <= 160 for count in passes)
    assert before.key != after.key
    for name in ("source", "target"):
        one, other = getattr(before, name), getattr(after, name)
        assert torch.equal(one.lengths, other.lengths)
        torch.testing.assert_close(other.whole().values, one.whole().values, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(after.output, before.output, rtol=1e-4, atol=1e-5)


def test_neighbours_run_together_by_tokens(text: dict) -> None:
    asked = merge(text, {"stitch": {"method": "diffusion", "coordinates": 4}, "neighborhoods": {"size": 24}})
    layers, notes = [], []
    for content in (asked, {**asked, "collect": {"tokens": 4096}}):
        model, report = fit({**content, "trust": "none"}, progress=False)
        layers.append(model.layer)
        notes.append(report.diagnostics.fits["diffusion"]["neighbourhoods"]["source"])
    assert notes[0]["dimension"] == pytest.approx(notes[1]["dimension"], rel=1e-3)
    one, other = (layer.diagnostics for layer in layers)
    assert one["source"]["eigenvalues"] == pytest.approx(other["source"]["eigenvalues"], rel=1e-3)


def test_tokens_of_sounds_are_not_counted(pico_listener: Path, pico_xlnet: Path, spoken: Path) -> None:
    content = {**listening(pico_listener, pico_xlnet, spoken), "collect": {"tokens": 100}}
    with pytest.raises(RecipeError, match=r"collect.tokens: counts the tokens of texts.* reads audio: leave"):
        observations(content)


@pytest.mark.parametrize("changes", [{"dtype": "float16"}, {"tokens": 0}, {"token": 4}])
def test_what_cannot_be_asked_is_refused(text: dict, changes: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="collect"):
        Recipe.parse({**text, "collect": changes})


def test_fewer_digits_take_half_the_room(text: dict) -> None:
    def stored(frames: Frames) -> int:
        return sum(path.stat().st_size for path in (cache_folder() / frames.key).glob("*.safetensors"))

    before, opened, _ = collected(text)
    after, asked, _ = collected({**text, "collect": {"dtype": "bfloat16"}})
    assert stored(after) < 0.7 * stored(before), "the rest is headers and answers"
    assert after.key != before.key
    for name in ("source", "target"):
        one, other = (getattr(frames, name).whole().values for frames in (before, after))
        assert other.dtype == torch.float32
        assert torch.equal(other, one.bfloat16().float())
    assert torch.equal(after.output, before.output)
    assert [note for note in asked.notes if "bfloat16" in note] != []
    assert [note for note in opened.notes if "bfloat16" in note] == []


@pytest.mark.parametrize("method", ["orthogonal", "rbf"])
def test_a_fit_in_fewer_digits_is_told_and_answers(text: dict, method: str, tmp_path: Path) -> None:
    asked = {**text, "stitch": {"method": method}, "trust": "none"}
    _, usual = fit(asked, progress=False)
    model, report = fit({**asked, "collect": {"dtype": "bfloat16"}}, out=tmp_path, progress=False)
    assert any("stored in bfloat16" in note for note in report.notes)
    assert report.recipe["collect"] == {"dtype": "bfloat16"}
    rows = torch.randn(5, model.layer.features_in)
    assert model.layer(rows).dtype == torch.float32
    assert report.value("r2") != usual.value("r2") == pytest.approx(report.value("r2"), abs=0.05)
    loaded = StitchedModel.from_pretrained(tmp_path)
    assert torch.equal(loaded.layer(rows), model.layer(rows))


def test_recipes_that_ask_for_nothing_keep_their_fingerprint(text: dict) -> None:
    plain = Recipe.parse(text)
    assert "collect" not in plain.plain()
    assert Recipe.parse({**text, "collect": {}}).fingerprint() == plain.fingerprint()
    for changes in ({"tokens": 4096}, {"dtype": "bfloat16"}):
        assert Recipe.parse({**text, "collect": changes}).fingerprint() != plain.fingerprint()


def test_a_comparison_may_be_collected_otherwise(text: dict) -> None:
    asked = {**text, "compare": [{"name": "in fewer digits", "collect": {"dtype": "bfloat16"}}]}
    _, report = fit({**asked, "trust": "none"}, progress=False)
    own, other = (report.value("r2", method=name) for name in (Recipe.parse(text).label, "in fewer digits"))
    assert own != other == pytest.approx(own, abs=0.05)
