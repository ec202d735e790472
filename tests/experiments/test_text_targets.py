"""Recipes whose target writes: what is collected, measured, judged, saved, evaluated and predicted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pico_recipes import SPEECH_HOOK, observations, split
from pico_writers import bart, gpt2

from hf_stitch.activations.hooked_model import open_hooked_model
from hf_stitch.activations.ragged import Ragged
from hf_stitch.activations.text_output import TextOutput
from hf_stitch.errors import ActivationError, HookError, RecipeError
from hf_stitch.evaluation.answer_kinds.base import Scope
from hf_stitch.evaluation.answer_kinds.texts import (
    GeneratedTexts,
    constant,
    likeness,
    others,
    same,
    text_measures,
    truth_text_measures,
)
from hf_stitch.experiments import comparison
from hf_stitch.experiments.evaluate import evaluate
from hf_stitch.experiments.fit import fit
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.models.predictor import Predictor
from hf_stitch.recipe.overrides import merge
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.report.catalogue import VERDICTS
from hf_stitch.report.report import Report
from hf_stitch.report.verdict.judge import judge
from hf_stitch.runtime.runtime import Runtime

LAYER = "model.encoder.layers.0"
TEXT = {"token_agreement", "exact_match", "text_wer", "text_cer"}


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bart(tmp_path_factory.mktemp("pico-bart"))


@pytest.fixture(scope="module")
def talker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gpt2(tmp_path_factory.mktemp("pico-gpt2"))


def copying(model: Path, hook: str, data: Path, columns: dict[str, str], **changes: Any) -> dict[str, Any]:
    """A model onto itself, timestep by timestep, by a rotation; a control with shuffled pairs beside it."""
    end = {"model": str(model), "hook": hook}
    base = {
        "source": end, "target": end,
        "data": {name: split(data, name, columns) for name in ("fit", "test")},
        "stitch": {"method": "orthogonal"}, "compare": [{"name": "shuffled", "stitch": {"shuffle": 0}}],
    }  # fmt: skip
    return merge(base, changes)


def reading(model: Path, written: Path, **changes: Any) -> dict[str, Any]:
    columns = {"source": "text", "id": "id", "group": "group", "target_answer": "text"}
    generation = {"max_new_tokens": 7, "num_beams": 2}
    return copying(model, LAYER, written, columns, **merge({"generation": generation}, changes))


def hearing(model: Path, spoken: Path, **changes: Any) -> dict[str, Any]:
    columns = {"source": "audio", "text": "text", "id": "id", "target_answer": "text"}
    return copying(model, SPEECH_HOOK, spoken, columns, **changes)


def run(content: dict[str, Any], out: Path | None = None) -> tuple[StitchedModel, Report]:
    return fit(Recipe.parse(content), out, device="cpu")


def same_as_itself(report: Report) -> None:
    """The law of a stitch into a copy of itself."""
    assert report.value("exact_match") == report.value("token_agreement") == 1
    assert report.value("text_wer") == report.value("text_cer") == 0
    assert report.measure("exact_match").low > 0.7  # type: ignore[operator]
    assert report.value("exact_match", "shuffled") < 1  # type: ignore[operator]
    assert report.value("token_agreement", "shuffled") < 1  # type: ignore[operator]
    assert report.value("text_wer", "shuffled") > 0  # type: ignore[operator]
    assert report.verdict.code == "holds"
    for name in ("answer_wer", "answer_cer", "answer_exact_match"):  # of equal texts the errors are equal too
        assert report.value(name) == report.value(name, "target")


def test_an_encoder_decoder_stitched_into_itself(writer: Path, written: Path, tmp_path: Path) -> None:
    _, report = run(reading(writer, written), tmp_path / "out")
    same_as_itself(report)
    assert {m.method for m in report.measures} == {
        "orthogonal", "shuffled", "majority", "other-sample", "target"
    }  # fmt: skip
    assert {m.split for m in report.measures} >= {"test", "test/a", "test/b"}
    assert {m.name for m in report.measures if m.method == "other-sample"} > TEXT
    assert {m.name for m in report.measures if m.method == "target"} == {
        "answer_exact_match", "answer_wer", "answer_cer"
    }  # fmt: skip
    assert report.diagnostics.task == "", "transformers refuses text2text-generation"
    assert "pipeline_tag" not in (tmp_path / "out" / "README.md").read_text()
    rows = report.diagnostics.written["rows"]
    assert rows["stitched"] == rows["target"]
    assert len(set(rows["target"])) > 1, "the law says nothing of a target that writes the same to all"
    assert {"token_agreement_kept", "abstained"} <= {m.name for m in report.measures}
    page, card = (tmp_path / "out" / name for name in ("report.html", "README.md"))
    for text in (page.read_text(), card.read_text()):
        assert "What is written" in text
        assert rows["target"][0] in text

    settings = StitchedModel.from_pretrained(tmp_path / "out").suffix.generation_config
    assert (settings.max_new_tokens, settings.num_beams, settings.do_sample) == (7, 2, False)
    again = evaluate(tmp_path / "out", device="cpu")
    for m in again.measures:
        assert report.value(m.name, m.method, m.split) == m.value, m.where
    assert again.verdict == report.verdict

    shown = report.diagnostics.written["samples"]
    texts = {row["id"]: row["text"] for row in map(json.loads, (written / "test.jsonl").read_text().splitlines())}
    answers = list(Predictor(tmp_path / "out", device="cpu")(texts[name] for name in shown))
    assert [answer["text"] for answer in answers] == rows["stitched"]
    assert all(0 <= answer["trust"] <= 1 for answer in answers)


def test_the_targets_own_texts_are_its_own(writer: Path, written: Path) -> None:
    found = observations(reading(writer, written), "test").collect()
    output = found.frames["test"].output
    assert isinstance(output, Ragged)
    model: Any = found.target.model
    for i in (0, 5, 11):
        inputs = found.target.tokenizer(found.samples["test"].target(i), return_tensors="pt")
        inputs.pop("token_type_ids", None)
        tokens = model.generate(**inputs, num_beams=2, max_new_tokens=7, do_sample=False)[0]
        assert output[i].tolist() == [token for token in tokens.tolist() if token > 2]


def test_a_recogniser_stitched_into_itself(pico_listener: Path, spoken: Path, tmp_path: Path) -> None:
    content = hearing(pico_listener, spoken, directions="both")
    _, report = run(content, tmp_path / "out")
    same_as_itself(report)
    assert report.value("exact_match", "orthogonal", direction="backward") == 1
    assert report.diagnostics.task == "automatic-speech-recognition"
    assert report.value("answer_wer", "target") == report.value("wer", "source")  # one model, heard two ways
    again = evaluate(tmp_path / "out", device="cpu")
    for m in again.measures:
        assert report.value(m.name, m.method, m.split) == m.value, m.where
    [answer] = Predictor(tmp_path / "out", device="cpu")([spoken / "test-0.wav"])
    assert answer["text"] == report.diagnostics.written["rows"]["target"][0]


def test_a_language_model_continues_a_stitched_prompt(talker: Path, written: Path) -> None:
    columns = {"source": "text", "id": "id"}
    _, report = run(copying(talker, "transformer.wte", written, columns, generation={"max_new_tokens": 5}))
    assert report.value("exact_match") == 1
    assert report.value("exact_match", "shuffled") < 1  # type: ignore[operator]
    assert any("cut off at the 5 tokens" in note for note in report.notes)
    assert "answer_wer" not in {m.name for m in report.measures}, "the data name no reference"


def test_speech_into_a_writer_with_a_cascade(pico_listener: Path, writer: Path, spoken: Path, tmp_path: Path) -> None:
    columns = {"source": "audio", "target": "text", "text": "text", "id": "id"}
    content = {
        "source": {"model": str(pico_listener), "hook": SPEECH_HOOK},
        "target": {"model": str(writer), "hook": "model.encoder.embed_tokens"},
        "data": {name: split(spoken, name, columns) for name in ("fit", "test")},
        "sequence": {"length": "ctc", "parts": 2}, "stitch": {"landing": "nearest"}, "compare": ["affine"],
    }  # fmt: skip
    _, report = run(content, tmp_path / "out")
    found = {m.name for m in report.measures if m.method == "affine+nearest"}
    assert {"exact_match_minus_cascade", "token_agreement_minus_cascade"} <= found
    assert report.value("token_agreement", "cascade") is not None
    assert set(report.diagnostics.written["rows"]) == {"stitched", "target", "cascade", "source heard"}
    failures = report.diagnostics.failures
    assert failures["failing"] == len(report.diagnostics.wrong)
    errors = [one["error"] for one in failures["samples"]]
    assert errors == sorted(errors, reverse=True)
    assert all(one["answers"]["target"] != one["answers"]["stitched"] for one in failures["samples"])
    assert all({"text", "characters"} == set(one["answers"]["stitched"]) for one in failures["samples"])
    for m in evaluate(tmp_path / "out", device="cpu").measures:
        assert report.value(m.name, m.method, m.split) == m.value, m.where


REFUSED = {
    "inside the decoder": ({"target": {"hook": "model.decoder.layers.0"}}, HookError, "inside its encoder"),
    "beams": ({"generation": {"num_beams": 0}}, RecipeError, "generation.num_beams"),
    "unknown": ({"generation": {"beams": 2}}, RecipeError, "unknown key `generation.beams`"),
}


@pytest.mark.parametrize(("changes", "kind", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_written_is_refused(
    writer: Path, written: Path, changes: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        observations(reading(writer, written, **changes))


def test_settings_for_what_generates_nothing_are_refused(pico_listener: Path, spoken: Path) -> None:
    with pytest.raises(RecipeError, match="generates no tokens"):
        observations(hearing(pico_listener, spoken, generation={"num_beams": 2}))


def test_both_ways_need_an_answer_both_ways(
    pico_wav2vec2: Path, spoken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers as tf

    monkeypatch.setattr(comparison, "fit_variant", lambda *args: pytest.fail("told only after a fit"))
    # Classes of every frame are no answer that is compared; a model without a head would answer with a vector.
    config = tf.AutoConfig.from_pretrained(pico_wav2vec2)
    tf.Wav2Vec2ForAudioFrameClassification(config).save_pretrained(tmp_path / "ears")
    tf.AutoFeatureExtractor.from_pretrained(pico_wav2vec2).save_pretrained(tmp_path / "ears")
    ends = {"source": {"model": str(tmp_path / "ears"), "hook": SPEECH_HOOK}}
    with pytest.raises(ActivationError, match="expected one row of logits a sample"):
        run(hearing(pico_wav2vec2, spoken, directions="both", **ends))


def script(*rows: str) -> GeneratedTexts:
    return GeneratedTexts([tuple(map(ord, row)) for row in rows], [" ".join(row) for row in rows])


SCOPE = Scope("test", "forward", 0)


def test_measures_of_texts_in_closed_form() -> None:
    own, given = script("abcd", "ab", "", "ab"), script("abxd", "ab", "", "cab")
    assert same(given, own).tolist() == [False, True, True, False]
    assert likeness(given, own) == pytest.approx([3 / 4, 1, 1, 2 / 3])
    found = {m.name: m for m in text_measures("m", given, own, SCOPE)}
    assert found["exact_match"].value == 0.5
    assert found["token_agreement"].value == pytest.approx((3 / 4 + 1 + 1 + 2 / 3) / 4)
    assert found["text_wer"].value == pytest.approx(2 / 8)  # one word of eight exchanged, one added
    assert found["text_cer"].value == pytest.approx(3 / (7 + 3 + 3))  # "x" for "c", and "c " before "a b"
    truth = {m.name: m.value for m in truth_text_measures("m", given, ["a b x d", "a  b", "", "b"], SCOPE)}
    assert truth == pytest.approx({"answer_exact_match": 0.75, "answer_wer": 2 / 7, "answer_cer": 4 / 11})
    nothing = script("", "")
    assert {m.name for m in text_measures("m", nothing, nothing, SCOPE)} == {"exact_match", "token_agreement"}


@given(st.lists(st.text("ab", max_size=4), min_size=1, max_size=12))
def test_references_of_texts(rows: list[str]) -> None:
    own = script(*rows)
    assert set(constant(own).texts) <= set(own.texts)
    commonest = max(rows.count(row) for row in rows)
    assert same(constant(own), own).sum() == commonest
    dealt = others(own, 3)
    assert sorted(dealt.tokens) == sorted(own.tokens)
    if len(set(rows)) == len(rows) > 1:
        assert not same(dealt, own).any()
    assert (likeness(own, own) == 1).all()
    assert np.allclose(likeness(dealt, own), likeness(own, dealt))


def test_ctc_paths_are_collapsed() -> None:
    writer = TextOutput("ctc", (0,))
    logits = torch.eye(4)[torch.tensor([[0, 1, 1, 0, 1, 2, 2, 3], [3, 3, 0, 3, 1, 1, 1, 1]])]
    mask = torch.tensor([[True] * 8, [True] * 4 + [False] * 4])
    assert [row.tolist() for row in writer.path(logits, mask)] == [[1, 1, 2, 3], [3, 3]]


def judged(agreement: float, low: float, **other: tuple[float, float]) -> str:
    """Code of the verdict where always the same text reaches 0.4 and those of other samples 0.3."""
    from hf_stitch.report.measure import Measure

    measures = [
        Measure("token_agreement", "affine", value=agreement, low=low, high=min(1.0, 2 * agreement - low), n=100),
        Measure("token_agreement", "majority", value=0.4, low=0.3, high=0.5, n=100),
        Measure("token_agreement", "other-sample", value=0.3, low=0.2, high=0.4, n=100),
    ]
    for name, (value, high) in other.items():
        method = "target" if name == "own_wer" else "affine"
        measures.append(Measure(name.replace("own_", "answer_"), method, value=value, low=value, high=high, n=100))
    verdict = judge(measures, "affine")
    assert verdict.code in VERDICTS
    return verdict.code


def test_verdicts_on_texts() -> None:
    assert judged(0.96, 0.93) == "holds"
    assert judged(0.96, 0.86) == "too-few-samples"
    assert judged(0.8, 0.75) == "holds-partly"
    assert judged(0.6, 0.55) == "fails"
    assert judged(0.5, 0.39) == "no-better-than-majority"
    assert judged(0.97, 0.95, token_agreement_minus_cascade=(-0.02, -0.01)) == "holds-partly"
    assert judged(0.97, 0.95, token_agreement_minus_cascade=(-0.02, 0.01)) == "holds"
    assert judged(0.97, 0.95, answer_wer=(0.2, 0.3), own_wer=(0.1, 0.2)) == "holds-partly"
    assert judged(0.97, 0.95, answer_wer=(0.12, 0.3), own_wer=(0.1, 0.2)) == "holds"


def test_a_reader_of_texts_has_a_writer_only_where_it_can(writer: Path, pico_roberta: Path, written: Path) -> None:
    asked = Recipe.parse(reading(writer, written))
    runtime = Runtime.start("cpu")
    assert open_hooked_model(asked.target, runtime).text_output is None, "nobody asked"
    found = open_hooked_model(asked.target, runtime, asked.generation).text_output
    assert found is not None
    assert (found.mode, found.skipped) == ("encoder", (0, 1, 2))
    assert TextOutput.from_dict(json.loads(json.dumps(found.to_dict()))) == found
