"""Recipes whose target answers with a vector: fitted, saved, loaded, evaluated and predicted, or refused at once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf
from pico_encoders import by_hand, encoder, sentence_transformer, tokenizer
from pico_recipes import NEIGHBORS, SPEECH_HOOK, observations, split
from pico_speech import say
from pico_writers import loud
from tiny_models import tiny

import hf_stitch
from hf_stitch.cli.main import main
from hf_stitch.errors import StitchError
from hf_stitch.evaluation.answers import recognised, text_answers
from hf_stitch.evaluation.references import make_references
from hf_stitch.experiments.evaluate import evaluate
from hf_stitch.experiments.fit import fit
from hf_stitch.hooks.probe_inputs import make_inputs_for
from hf_stitch.loading.models import load_model
from hf_stitch.loading.vector_answers import with_vector
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.models.predictor import Predictor
from hf_stitch.models.tasks import tasks_of
from hf_stitch.recipe.overrides import merge
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.recipe.side import Side
from hf_stitch.report.rendering.card import card_for
from hf_stitch.report.rendering.page import page_for
from hf_stitch.report.report import Report
from hf_stitch.runtime.cache import cache_folder

LAYER = "encoder.layer.0"
INSIDE = "0_Transformer"
VECTORS = {"vector_r2", "vector_cosine", "retrieval_r1", "retrieval_r10", "retrieval_mrr"}
TEXTS = ["the film was very good", "i never like this boring play", "so"]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sentence_transformer(tmp_path_factory.mktemp("st-root"), seed=1)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("st-inside")
    return sentence_transformer(folder, seed=2, inside=INSIDE, parts=("Dense", "Normalize"))


def between(source: Path, target: Path, written: Path, /, **changes: Any) -> dict[str, Any]:
    """Two encoders, timestep by timestep, whose tokenizers are alike."""
    base = {
        "source": {"model": str(source), "hook": LAYER},
        "target": {"model": str(target), "hook": LAYER},
        "data": {name: split(written, name, {"source": "text", "id": "id"}) for name in ("fit", "validation", "test")},
        "sequence": {"length": "resample"},
        "stitch": {"method": "affine"},
        "neighborhoods": NEIGHBORS,
    }
    return merge(base, changes)


@pytest.fixture(scope="module")
def itself(tmp_path_factory: pytest.TempPathFactory, target: Path, written: Path) -> Path:
    """The target stitched to itself, saved: what it answers is known."""
    folder = tmp_path_factory.mktemp("itself")
    shuffled = {"name": "shuffled", "stitch": {"shuffle": 0}}
    fit(between(target, target, written, compare=["orthogonal", shuffled]), out=folder, device="cpu")
    return folder


def test_a_stitch_that_is_exact_gives_the_vector_of_sentence_transformers(itself: Path, target: Path) -> None:
    program = f"import sys; sys.argv[1:] = ['predict', {str(itself)!r}]; from hf_stitch.cli.main import main; main()"
    lines = "\n".join(TEXTS).encode()
    done = subprocess.run([sys.executable, "-c", program], input=lines, capture_output=True, check=True, timeout=120)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["input"] for one in answers] == TEXTS
    assert set(answers[0]) == {"input", "values", "trust", "trust_parts"}
    np.testing.assert_allclose([one["values"] for one in answers], by_hand(target, TEXTS, INSIDE), atol=1e-6)


def test_every_way_to_the_vector_gives_the_same(itself: Path, target: Path) -> None:
    wanted = by_hand(target, TEXTS, INSIDE)
    assert tasks_of(StitchedModel.from_pretrained(itself).config) == ["feature-extraction", "stitched-vector"]
    for task, read in (("stitched-vector", lambda one: one["values"]), ("feature-extraction", lambda one: one[0])):
        answer = tf.pipeline(task, model=str(itself))
        np.testing.assert_allclose([read(one) for one in answer(TEXTS, batch_size=2)], wanted, atol=1e-6)
    model = hf_stitch.StitchedModel.from_pretrained(itself)
    inputs = tf.AutoTokenizer.from_pretrained(itself)(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        output = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
    torch.testing.assert_close(output.embeddings, torch.from_numpy(wanted), atol=1e-6, rtol=0)
    assert output.last_hidden_state.shape[:2] == inputs["input_ids"].shape, "the target's own output is there too"


def test_the_report_of_an_exact_stitch_and_of_a_shuffled_one(itself: Path) -> None:
    report = Report.load(itself / "report.json")
    assert {m.name for m in report.measures if m.method == "affine"} >= VECTORS
    assert report.value("vector_r2") == pytest.approx(1)
    assert report.value("retrieval_r1") == report.value("retrieval_r1", "target")
    for name in ("mean", "ridge", "procrustes"):
        assert {m.name for m in report.measures if (m.method, m.split) == (name, "test")} == VECTORS
    assert report.value("retrieval_mrr", "relative") > report.value("retrieval_mrr", "mean")
    assert report.value("vector_r2", "mean") == 0
    assert report.value("retrieval_r1", "mean") == pytest.approx(1 / 18)
    assert report.value("vector_r2", "shuffled") < 0.5
    assert all(m.interval is not None for m in report.measures if m.name in VECTORS)
    assert report.chosen is not None
    assert report.chosen["measure"] == "vector_r2"
    assert report.verdict.code == "too-few-samples"
    assert "18 test samples are too few to be sure" in report.verdict.text
    assert report.diagnostics.task == "feature-extraction"
    card, page = card_for(report), page_for(report)
    assert "pipeline_tag: feature-extraction" in card
    for title in ("R2 of the vectors", "Found first", "Mean reciprocal rank", "always the mean vector of the fit"):
        assert title in card
        assert title in page
    assert "Found among ten" in page


def test_evaluation_runs_the_saved_model_and_finds_the_same(itself: Path, written: Path) -> None:
    known, found = Report.load(itself / "report.json"), evaluate(itself, device="cpu")
    for name in VECTORS:
        assert found.value(name) == pytest.approx(known.value(name), abs=1e-6)
        assert found.value(name, "mean") == pytest.approx(known.value(name, "mean"), abs=1e-6), "round the fit's mean"


def test_vectors_are_shown_as_numbers(
    itself: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "texts.txt").write_text(TEXTS[0])
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert main(["predict", str(itself), str(tmp_path / "texts.txt")]) == 0
    out = capsys.readouterr().out
    first = next(iter(Predictor(itself, device="cpu")([TEXTS[0]])))["values"]
    assert ", ".join(f"{value:.4f}" for value in first[:4]) in " ".join(out.split())
    assert "(12 numbers)" in " ".join(out.split())


def test_the_parts_of_the_vector_are_listed_with_the_layers(target: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(target)]) == 0
    listed = {line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]}
    assert {"encoder.layer.0.output", "vector", "vector.pooling", "vector.steps.0", "vector.steps.1"} <= listed


def test_two_encoders_each_way_by_pooled_vectors(source: Path, target: Path, written: Path) -> None:
    ends = {"source": {"hook": "vector"}, "target": {"hook": "vector"}}
    model, report = fit(
        between(source, target, written, directions="both", trust="none", compare=["orthogonal"], **ends), device="cpu"
    )
    assert model.layer.features_in, model.layer.features_out == (16, 12)
    for direction in ("forward", "backward"):
        known = {m.name for m in report.measures if (m.method, m.direction) == ("affine", direction)}
        assert known >= VECTORS
    failing = report.diagnostics.failures["samples"][0]
    assert failing["inputs"]["source"]["text"]
    assert failing["answers"]["target"]["text"] == "its own vector is number 1 of 18 by cosine, which is 1.000"
    assert "its own vector is number 1 " not in failing["answers"]["stitched"]["text"]
    # The pooled source is all that either sees: the ridge of the control is the map of the stitch.
    assert report.value("vector_r2") == pytest.approx(report.value("vector_r2", "ridge"), abs=1e-6)
    assert report.value("vector_r2", "orthogonal") == pytest.approx(report.value("vector_r2", "procrustes"), abs=1e-6)


def test_the_map_alone_is_enough_where_the_folder_still_makes_its_vectors_so(
    target: Path, written: Path, tmp_path: Path
) -> None:
    copy = sentence_transformer(tmp_path / "st", seed=2, parts=("Dense",))
    model, _ = fit(between(copy, copy, written, trust="none", save="map"), out=tmp_path / "out", device="cpu")
    inputs = {"input_ids": torch.tensor([[0, 5, 6, 2]])}
    again = StitchedModel.from_pretrained(tmp_path / "out")
    with torch.no_grad():
        torch.testing.assert_close(again(**inputs).embeddings, model(**inputs).embeddings)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["stitch_format"] == 3
    other = copy / "2_Dense" / "config.json"
    other.write_text(other.read_text().replace("Tanh", "ReLU"))
    with pytest.raises(StitchError, match="makes its vectors in another way"):
        StitchedModel.from_pretrained(tmp_path / "out")


def test_the_default_pooling_is_told(written: Path, tmp_path: Path, source: Path) -> None:
    plain = encoder(tmp_path / "plain", seed=4)
    told = observations(between(source, plain, written), "fit").notes
    assert [note for note in told if "mean of its states" in note and "`target.pooling` takes another" in note] == told
    assert len(told) == 1
    content = between(source, plain, written, target={"pooling": "cls"})
    assert observations(content, "fit").notes == []
    assert Recipe.parse(content).fingerprint() != Recipe.parse(between(source, plain, written)).fingerprint()


@pytest.mark.parametrize("kind", [tf.BertForMaskedLM, tf.RobertaForMaskedLM, tf.ViTForMaskedImageModeling])
def test_a_checkpoint_without_a_pooler_is_as_good(kind: Any, written: Path, tmp_path: Path) -> None:
    name = kind.__name__.removesuffix("ForMaskedLM").removesuffix("ForMaskedImageModeling")
    config = getattr(tf, f"{name}Config")(hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
                                          intermediate_size=32, image_size=8, patch_size=4, pad_token_id=1)  # fmt: skip
    torch.manual_seed(0)
    kind(config).save_pretrained(tmp_path)
    side = {"model": str(tmp_path), "class": f"{name}Model", "hook": "x"}
    model = load_model(Side.model_validate(side))
    inputs = {k: v for k, v in make_inputs_for(model)(2, 5).items() if isinstance(v, torch.Tensor)}
    with torch.no_grad():
        assert not model(**inputs).pooler_output.any()
        whole = getattr(tf, f"{name}Model").from_pretrained(tmp_path, add_pooling_layer=False).eval()
        torch.testing.assert_close(model(**inputs).last_hidden_state, whole(**inputs).last_hidden_state)
    with pytest.raises(StitchError, match="has no pooler: take another"):
        with_vector(Side.model_validate({**side, "pooling": "pooler_output"}), model, wanted=True)
    if kind is tf.BertForMaskedLM:
        tokenizer().save_pretrained(tmp_path)
        ends = {end: {"model": str(tmp_path), "class": "BertModel"} for end in ("source", "target")}
        kept, _ = fit(between(tmp_path, tmp_path, written, **ends), out=tmp_path / "out", device="cpu")
        again = StitchedModel.from_pretrained(tmp_path / "out")
        with torch.no_grad():
            torch.testing.assert_close(again(**inputs).embeddings, kept(**inputs).embeddings)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "masked": ({"target": {"class": "BertForMaskedLM", "hook": "bert.encoder.layer.0"}}, "BertModel gives a vector"),
    "pooling": ({"target": {"pooling": "max"}}, "has a pooling of its own"),
}


@pytest.mark.parametrize(("changes", "message"), REFUSED.values(), ids=REFUSED)
def test_what_will_be_refused_is_refused_before_anything_is_collected(
    changes: dict[str, Any], message: str, written: Path, tmp_path: Path
) -> None:
    source, folder = sentence_transformer(tmp_path / "source"), sentence_transformer(tmp_path / "target")
    if "class" in changes["target"]:
        tf.BertForMaskedLM(tf.AutoConfig.from_pretrained(folder)).save_pretrained(folder)
    with pytest.raises(StitchError, match=message):
        fit(between(source, folder, written, **changes), out=tmp_path / "out", device="cpu")
    assert not list(cache_folder().rglob("*.safetensors"))


def test_the_way_back_to_a_source_whose_answers_are_not_collected_is_refused_at_once(
    source: Path, written: Path, tmp_path: Path
) -> None:
    tokenizer().save_pretrained(tmp_path)
    tiny("bart").save_pretrained(tmp_path)
    ends = {"source": {"model": str(tmp_path), "hook": "model.encoder.layers.0"}}
    with pytest.raises(StitchError, match="directions: both needs a source that answers"):
        fit(between(source, source, written, directions="both", **ends), device="cpu")
    assert not list(cache_folder().rglob("*.safetensors"))


def heard(model: Path, target: Path, spoken: Path, hook: str) -> dict[str, Any]:
    columns = {"source": "audio", "target": "text", "text": "text", "id": "id"}
    return {
        "source": {"model": str(model), "hook": hook},
        "target": {"model": str(target), "hook": LAYER},
        "data": {name: split(spoken, name, columns) for name in ("fit", "test")},
        "sequence": {"length": "resample"},
    }


def whisper(folder: Path) -> Path:
    """A tiny recogniser that generates, of two seconds, with random weights."""
    words = tokenizer()
    words.save_pretrained(folder)
    tf.WhisperFeatureExtractor(feature_size=8, chunk_length=2).save_pretrained(folder)
    torch.manual_seed(5)
    config = tf.WhisperConfig(
        vocab_size=len(words.get_vocab()), d_model=16, encoder_layers=2, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, max_source_positions=100,
        max_target_positions=20, num_mel_bins=8, pad_token_id=1, bos_token_id=0, eos_token_id=2,
        decoder_start_token_id=0, suppress_tokens=None, begin_suppress_tokens=None,
    )  # fmt: skip
    model = loud(tf.WhisperForConditionalGeneration(config), 9)
    model.generation_config.suppress_tokens = [0, 1, 2, 3]  # words alone, never the end
    model.save_pretrained(folder)
    return folder


def test_the_cascade_of_a_recogniser_that_generates(target: Path, spoken: Path, tmp_path: Path) -> None:
    folder = whisper(tmp_path)
    content = heard(folder, target, spoken, "model.encoder.layers.0")
    seen = observations(content, "fit", "test").collect()
    samples, before = seen.samples["test"], seen.source.model.generation_config.to_dict()
    found = recognised(seen, "test")
    assert found is not None
    assert len(found) == len(samples)
    assert len(set(found)) > 1
    assert seen.source.model.generation_config.to_dict() == before
    model, tools = tf.WhisperForConditionalGeneration.from_pretrained(folder), tokenizer()
    features = tf.WhisperFeatureExtractor.from_pretrained(folder)
    for i in (0, 5):
        inputs = features(samples.source(i), sampling_rate=16_000, return_tensors="pt")
        tokens = model.eval().generate(inputs["input_features"], do_sample=False, max_new_tokens=10)
        assert tools.decode(tokens[0], skip_special_tokens=True).strip() == found[i]
    references = make_references(Recipe.parse(content), seen, "test")
    assert references.transcripts == found
    wanted = references.kind.read(text_answers(seen.target, found))
    np.testing.assert_array_equal(references.controls["cascade"], wanted)


def test_the_cascade_of_a_ctc_recogniser(pico_listener: Path, target: Path, spoken: Path) -> None:
    model, report = fit(heard(pico_listener, target, spoken, SPEECH_HOOK), device="cpu")
    assert report.value("wer", "source") < 0.5
    assert report.value("retrieval_r1", "cascade") > report.value("retrieval_r1", "mean")
    found = report.measure("vector_r2_minus_cascade")
    difference = report.value("vector_r2") - report.value("vector_r2", "cascade")
    assert found.value == pytest.approx(difference)
    assert tasks_of(model.config) == ["stitched-vector"]
    assert say("so").ndim == 1


def test_a_source_that_only_reads_has_no_transcripts(source: Path, target: Path, written: Path) -> None:
    seen = observations(between(source, target, written), "fit", "test").collect()
    assert recognised(seen, "test") is None
    assert set(make_references(Recipe.parse(between(source, target, written)), seen, "test").controls) == {
        "mean", "ridge", "procrustes", "relative",
    }  # fmt: skip
