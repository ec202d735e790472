"""Rehearsals: recipes naming models and data of the Hub run offline, and what they foretell comes true."""

from __future__ import annotations

import json
import math
import os
import re
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pico_recipes
import pytest
import torch
import yaml
from tiny_models import SPEECH, TEXT

from hf_stitch.cli.main import main
from hf_stitch.errors import StitchError
from hf_stitch.experiments.fit import fit
from hf_stitch.experiments.rehearsal.cost_meter import Cost, Watch
from hf_stitch.experiments.rehearsal.estimate import _power_law
from hf_stitch.experiments.rehearsal.known_configurations import KNOWN, configuration
from hf_stitch.experiments.rehearsal.rehearse import rehearse
from hf_stitch.experiments.rehearsal.stand_ins import text_tool
from hf_stitch.loading.model_classes import class_of
from hf_stitch.recipe.overrides import merge
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.recipe.shipped import shipped
from hf_stitch.recipe.side import Side
from hf_stitch.runtime.cache import cache_folder

SPEECH_CONFIG = {"model_type": "wav2vec2", "architectures": ["Wav2Vec2ForCTC"], **SPEECH, "vocab_size": 32}
TEXT_CONFIG = {
    "model_type": "roberta", "architectures": ["RobertaForSequenceClassification"], **TEXT, "vocab_size": 300,
    "max_position_embeddings": 100, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2,
}  # fmt: skip
READS = {"dataset": "someone/spoken", "samples": 50, "columns": {"source": "audio", "target": "text", "label": "mood"}}
HUB = {
    "name": "listening",
    "source": {"model": "someone/ears", "hook": "wav2vec2.encoder.layers.0", "features": {"every": 4}},
    "target": {"model": "someone/mind", "hook": "roberta.encoder.layer.1"},
    "data": {"fit": READS, "test": {**READS, "samples": 70}},
    "neighborhoods": {"kind": "gaussian", "size": 40, "max_rank": 8},
    "stitch": {"method": "diffusion", "coordinates": 6, "neighbours": "all"},
    "rehearse": {"seconds": 4.0, "words": 12, "source": SPEECH_CONFIG, "target": TEXT_CONFIG},
}


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine whose libraries think that they are online: any connection fails the test."""
    from huggingface_hub import constants

    def refuse(*args: object) -> None:
        raise AssertionError(f"a connection was tried: {args}")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def content(**changes: Any) -> dict[str, Any]:
    return rehearse(Recipe.parse(merge(HUB, changes)), device="cpu").content


def test_models_and_data_of_the_hub_are_rehearsed_without_network(no_network: None, tmp_path: Path) -> None:
    before = os.environ["HF_STITCH_CACHE"]
    found = content()
    assert os.environ["HF_STITCH_CACHE"] == before
    assert not list(cache_folder().glob("*")), "a rehearsal leaves nothing in the cache"
    assert json.loads(json.dumps(found)) == found
    source, target = found["models"]["source"], found["models"]["target"]
    assert (source["class"], source["width"], source["features"]) == ("Wav2Vec2ForCTC", 32, 8)
    assert (target["class"], target["configuration"]) == (
        "RobertaForSequenceClassification",
        "the recipe's rehearse: part",
    )
    download = found["expected"]["download_bytes"]
    assert download["source"] == pytest.approx(4 * source["parameters"], rel=0.01)
    assert download["sounds used"] == round(120 * 4.0 * 16000 * 2 * 0.55)
    assert found["lengths"]["source"] == pytest.approx(4.0 * 16000 / 20, rel=0.12)
    times = {stage["stage"]: stage for stage in found["stages"]}
    assert {"activations.fit", "neighbourhoods.source", "neighbourhoods.target", "fit.diffusion", "cut"} <= set(times)
    fitting = times["activations.fit"]
    assert fitting["expected_s"] == pytest.approx(fitting["measured_s"] / 4 * 50 * 2)
    tested = times["activations.test"]
    assert tested["expected_s"] == pytest.approx(tested["measured_s"] / 2 * 70 * 2)
    near = times["neighbourhoods.source"]
    assert near["expected_s"] == pytest.approx(near["measured_s"] / 16 * 50 * 41 * 2)
    assert found["expected"]["seconds"] == pytest.approx(sum(stage["expected_s"] for stage in found["stages"]))
    assert found["expected"]["memory_bytes"]["peak"] == max(found["expected"]["memory_bytes"].values())


def test_frames_are_grouped_into_words_although_random_weights_hear_none(no_network: None) -> None:
    found = content(
        sequence={"length": "ctc", "parts": 2}, stitch={"method": "affine", "coordinates": None, "neighbours": None}
    )
    assert found["rows"]["expected"] == pytest.approx(50 * 12, rel=0.2), "a row a word"


@pytest.mark.parametrize(
    "changes",
    [
        {"sequence": {"length": "ctc", "unit": "token", "align": "forced"}},
        {"sequence": {"length": "spans"}, "data": {"fit": {"columns": {"times": "times"}}, "test": None}},
    ],
    ids=["forced", "times"],
)
def test_texts_that_are_aligned_or_have_times(no_network: None, changes: dict[str, Any]) -> None:
    found = content(**changes, stitch={"method": "affine", "coordinates": None, "neighbours": None})
    assert found["rows"]["expected"] >= 50 * 12 * 0.8, "a row a token"


def test_numbers_and_pictures_of_the_hub(no_network: None) -> None:
    picture = {
        "model_type": "vit", "architectures": ["ViTForImageClassification"], "image_size": 16, "patch_size": 4,
        **{key: value for key, value in TEXT.items() if key != "vocab_size"},
    }  # fmt: skip
    side = {"model": "someone/eyes", "hook": "vit.layers.0"}
    reads = {"dataset": "someone/pictures", "samples": 30, "columns": {"source": "image", "label": "kind"}}
    found = content(
        source={**side, "features": "all"},
        target={**side, "hook": "vit.layers.1"},
        data={"fit": {**reads, "columns": {"source": "image", "target": None, "label": "kind"}}, "test": None},
        stitch={"method": "affine", "coordinates": None, "neighbours": None},
        rehearse={"source": None, "target": None} | {"source": picture, "target": picture},
    )
    assert found["rows"]["expected"] == 30 * 17
    assert "sounds used" not in found["expected"]["download_bytes"]


def test_what_is_foretold_of_a_local_recipe_comes_true(pico_wav2vec2: Path, pico_xlnet: Path, spoken: Path) -> None:
    changes: dict[str, Any] = {"stitch": {"method": "affine"}, "sequence": {"length": "trim", "parts": 1}}
    recipe = Recipe.parse(pico_recipes.listening(pico_wav2vec2, pico_xlnet, spoken, trust="none", **changes))
    found = rehearse(recipe, device="cpu").content
    _, report = fit(recipe)
    rows = report.diagnostics.fits["affine"]["rows"]
    assert found["rows"]["expected"] == pytest.approx(rows, rel=0.3)
    written = sum(path.stat().st_size for path in cache_folder().rglob("*.safetensors"))
    assert found["expected"]["disk_bytes"]["activations"] == pytest.approx(written, rel=0.35)
    assert found["parameters"]["prefix"] == report.parameters["prefix"]
    assert found["parameters"]["suffix"] == report.parameters["suffix"]
    assert found["expected"]["download_bytes"] == {"source": 0, "target": 0}


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no configuration": ({"rehearse": {"source": None}}, "someone/ears.*give its config.json.*rehearse.source"),
    "no file": ({"rehearse": {"source": "nowhere/config.json"}}, "no configuration at nowhere/config.json"),
    "no type": ({"rehearse": {"source": {"model_type": "mind"}}}, "names no model that transformers knows"),
    "sizes": ({"rehearse": {"target": {**TEXT_CONFIG, "num_attention_heads": 5}}}, "makes no Roberta"),
    "hook": ({"target": {"hook": "roberta.encoder.layer.7"}}, "roberta.encoder.layer"),
    "features": ({"source": {"features": [40]}}, "someone/ears"),
    "rows": ({"data": {"fit": {"samples": 1}}, "sequence": {"per_sample": 2}}, "needs more rows than features: 2 rows"),
    "answer": ({"target": {"class": "RobertaForTokenClassification"}}, "expected one row of logits a sample"),
    "column": ({"data": {"fit": {"columns": {"target": None}}}}, "columns.target is missing|expected text"),
    "rule": ({"target": {"model": "someone/ears2", "hook": "wav2vec2.encoder.layers.1"},
              "sequence": {"length": "spans"},
              "rehearse": {"target": {**SPEECH_CONFIG, "architectures": ["Wav2Vec2ForSequenceClassification"]}},
              "stitch": {"method": "affine", "coordinates": None, "neighbours": None}},
             "needs a target that reads text"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_the_fit_would_refuse_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(StitchError, match=re.compile(message, re.DOTALL)):
        content(**changes)


def test_comparisons_are_rehearsed_too() -> None:
    trim = {"name": "words", "sequence": {"length": "ctc"}, "stitch": {"method": "affine"}}
    other = {"name": "other", "source": {"hook": "wav2vec2.encoder.layers.1"}}
    found = content(compare=["affine", trim, {"name": "bad", "sequence": {"length": "spans"}}, other])
    notes = [note for note in found["notes"] if "comparison " in note]
    assert notes[0].startswith("the comparison bad would fail: ")
    assert notes[1].startswith("the comparison other has models or data of its own")
    assert len(notes) == 2


def test_the_program_tells_a_table_and_writes_json(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("listening.yaml").write_text(yaml.safe_dump(HUB))
    assert main(["fit", "listening.yaml", "--rehearse", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    for part in ("neighbourhoods.source", "time without downloads", "memory at most", "disk", "someone/ears"):
        assert part in out
    found = json.loads(Path("stitched/listening.rehearsal.json").read_text())
    assert found["fingerprint"] == Recipe.parse(HUB).fingerprint()
    assert not Path("stitched/listening").exists(), "nothing was fitted"
    assert main(["fit", "listening.yaml", "--rehearse", "--device", "cpu", "target.hook=nothing"]) == 2
    assert re.fullmatch(r"hf-stitch: .*'?nothing.*\n", capsys.readouterr().err.splitlines(keepends=True)[-1])


def test_the_rehearse_part_changes_no_fingerprint() -> None:
    plain = {key: value for key, value in HUB.items() if key != "rehearse"}
    assert Recipe.parse(plain).fingerprint() == Recipe.parse(HUB).fingerprint()


def test_more_than_the_machine_has_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(total=10**6))
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=10**3))
    memory, disk = content(stitch={"method": "affine", "coordinates": None, "neighbours": None})["warnings"]
    assert "this machine has 0 GB" in memory
    assert "HF_STITCH_CACHE" in disk


def test_costs_of_the_fit_follow_a_power_of_the_rows() -> None:
    for power in (1.0, 1.5, 2.0, 3.0):
        costs = {
            f"fit.{name}": Cost(0.1 * (rows / 100) ** power, 0) for name, rows in (("first", 100), ("second", 200))
        }
        seen: Any = SimpleNamespace(watch=costs, rows=(100, 200), real_rows=1000)
        expected, found = _power_law(seen, "seconds")
        assert found == pytest.approx(power)
        assert expected == pytest.approx(0.1 * 10**power)
    seen = SimpleNamespace(watch={"fit.first": Cost(3.0, 0)}, rows=(80, 80), real_rows=80)
    assert _power_law(seen, "seconds")[0] == 3.0
    noisy = {"fit.first": Cost(1.0, 10), "fit.second": Cost(1.0, 1000)}
    assert _power_law(SimpleNamespace(watch=noisy, rows=(100, 200), real_rows=400), "memory") == (4000.0, 2.0)


def test_the_watch_sees_memory_that_is_given_back() -> None:
    watch = Watch()
    with watch.stage("a"):
        torch.ones(30_000_000).sum()
    assert watch["a"].memory > 100_000_000
    assert 0 < watch["a"].seconds < 60


# Numbers of parameters of the published models, as their pages and papers state them.
PUBLISHED = {
    "facebook/wav2vec2-base-960h": 94_396_320,
    "facebook/wav2vec2-large-960h-lv60-self": 315_471_520,
    "sentence-transformers/all-MiniLM-L6-v2": 22_713_216,
    "siebert/sentiment-roberta-large-english": 355_361_794,
    "textattack/xlnet-base-cased-SST-2": 117_310_466,
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_sizes_are_those_of_the_models(name: str) -> None:
    config, origin = configuration(Side.model_validate({"model": name, "hook": ""}), None)
    assert origin == "published sizes"
    with torch.device("meta"):
        model = class_of(config)(config)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count == PUBLISHED.get(name, count)
    assert 2e7 < count < 4e8


def test_every_model_of_a_shipped_recipe_can_be_rehearsed() -> None:
    for name in shipped():
        for _, recipe in Recipe.load(name).variants():
            for side, given in ((recipe.source, recipe.rehearse.source), (recipe.target, recipe.rehearse.target)):
                assert side.model.startswith("zoo:") or side.model in KNOWN or given is not None, (
                    f"{name}: {side.model}"
                )


def test_recordings_of_sensors(no_network: None) -> None:
    """Timesteps in slices from an LSTM, whose output is a tuple, to some features of a transformer, and back."""
    words = ["neighborhoods.size=3", "data.fit.samples=20", "data.test.samples=20", "stitch.coordinates=4"]
    found = rehearse(Recipe.load("thesis/vibration", words), device="cpu").content
    assert found["rows"]["expected"] == 20 * 10, "slices of ten timesteps"
    assert (found["models"]["source"]["width"], found["models"]["target"]["features"]) == (1, 16)
    assert found["lengths"] == {"source": 100, "target": 100}


def test_a_synthetic_tokenizer_has_the_models_own_ids_and_about_as_many_tokens() -> None:
    config, _ = configuration(Side.model_validate({"model": "textattack/xlnet-base-cased-SST-2", "hook": ""}), None)
    tokenizer = text_tool(config)
    assert (tokenizer.pad_token_id, tokenizer.padding_side) == (5, "left")
    ids = tokenizer(["the mountain", "remember the morning"], padding=True)["input_ids"]
    assert ids[0][0] == 5
    assert [len(row) for row in ids] == [7, 7]
    assert math.isclose(len(set(ids[1])), 6), "re-me-mber, the, mor-ning and the end, which comes twice"


@pytest.mark.slow
def test_a_recipe_of_full_size_is_rehearsed_within_this_machines_memory(no_network: None) -> None:
    """XLNet-base and RoBERTa-large at true size: 473 million random weights."""
    found = rehearse(Recipe.load("thesis/text_sentiment"), device="cpu").content
    sizes = [found["models"][role]["parameters"] for role in ("source", "target")]
    assert sizes == [
        PUBLISHED["textattack/xlnet-base-cased-SST-2"],
        PUBLISHED["siebert/sentiment-roberta-large-english"],
    ]
    assert found["rehearsed"]["memory_peak_bytes"] < 12e9
    assert found["rows"]["expected"] > 4000
