"""Fits with models that do not take padded batches as they are: collected, measured, answered and told."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
import transformers as tf
from pico_recipes import listening, observations, reading
from pico_speech import RATE, say
from torch import Tensor

import hf_stitch
from hf_stitch.experiments.evaluate import evaluate
from hf_stitch.experiments.fit import fit
from hf_stitch.models.predictor import Predictor

SOUNDS = ["so it not a", "a i", "not so", "it so a i not"]
TEXTS = ["the film was very good", "boring", "i never like this play", "so good"]
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}
hf_stitch.register()


@pytest.fixture(scope="module")
def grouped(tmp_path_factory: pytest.TempPathFactory, pico_wav2vec2: Path) -> Path:
    """The tiny Wav2Vec2 with a norm over time, as facebook/wav2vec2-base has it."""
    folder = tmp_path_factory.mktemp("wav2vec2-group")
    shutil.copytree(pico_wav2vec2, folder, dirs_exist_ok=True)
    config = tf.Wav2Vec2Config.from_pretrained(pico_wav2vec2, feat_extract_norm="group", do_stable_layer_norm=False)
    torch.manual_seed(3)
    tf.Wav2Vec2ForCTC(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def leftist(tmp_path_factory: pytest.TempPathFactory, pico_xlnet: Path) -> Path:
    """A tiny GPT-2 that classifies texts, whose tokenizer pads before them."""
    folder = tmp_path_factory.mktemp("gpt2-left")
    tokenizer = tf.AutoTokenizer.from_pretrained(pico_xlnet)
    assert tokenizer.padding_side == "left"
    tokenizer.save_pretrained(folder)
    config = tf.GPT2Config(
        vocab_size=len(tokenizer), n_embd=16, n_layer=2, n_head=2, n_positions=66, pad_token_id=1, bos_token_id=2,
        eos_token_id=2, id2label={0: "negative", 1: "positive"}, label2id={"negative": 0, "positive": 1},
    )  # fmt: skip
    torch.manual_seed(4)
    model = tf.GPT2ForSequenceClassification(config)
    model.transformer.wpe.weight.data *= 20  # where a word stands matters
    model.save_pretrained(folder)
    return folder


def sounds(folder: Path) -> list[Path]:
    files = [folder / f"{i}.wav" for i in range(len(SOUNDS))]
    for file, text in zip(files, SOUNDS):
        soundfile.write(file, say(text), RATE)
    return files


def alone(pipe: Any, inputs: list[Any]) -> list[dict[str, float]]:
    return [scores(pipe(one)) for one in inputs]


def scores(found: Any) -> dict[str, float]:
    """Scores by label, of transformers' pipelines and of ours."""
    return found["scores"] if isinstance(found, dict) else {one["label"]: one["score"] for one in found}


def same(one: list[dict[str, float]], two: list[dict[str, float]]) -> bool:
    return all(a == pytest.approx(b, abs=1e-5) for a, b in zip(one, two, strict=True))


def test_a_norm_over_time_is_fitted_measured_and_answered_as_alone(
    grouped: Path, pico_xlnet: Path, spoken: Path, tmp_path: Path
) -> None:
    asked = listening(grouped, pico_xlnet, spoken, sequence={"length": "resample", "parts": None})
    del asked["sequence"]["parts"]
    seen = observations(asked, "fit").collect()
    for i in range(4):
        inputs = seen.source.preparer.batch([seen.samples["fit"].source(i)])
        with torch.no_grad():
            hidden = seen.source.model.wav2vec2(**inputs, output_hidden_states=True).hidden_states
        assert torch.allclose(seen.frames["fit"].source[i], hidden[1][0], **TOLERANCE)
    _, report = fit(asked, tmp_path / "out")
    told = next(note for note in report.notes if "forward passes" in note)
    assert "runs one length at a time because a sample beside a longer one in a padded batch changes by" in told
    assert "44 samples took" in told
    assert "would do" in told
    assert "runs one length at a time because" in (tmp_path / "out" / "README.md").read_text()
    again = evaluate(tmp_path / "out", device="cpu")
    assert again.value("agreement") == report.value("agreement")
    assert any("the prefix of the stitched model runs one length at a time" in note for note in again.notes)
    files = sounds(tmp_path)
    predictor = Predictor(tmp_path / "out", device="cpu")
    each = [next(predictor([file]))["scores"] for file in files]
    assert same([answer["scores"] for answer in predictor(files)], each)
    for task in ("audio-classification", "stitched-classification"):
        pipe = tf.pipeline(task, model=str(tmp_path / "out"), device="cpu")
        together = [scores(one) for one in pipe([say(text) for text in SOUNDS], batch_size=4)]
        assert same(together, each), task


@pytest.mark.parametrize(("rule", "hook"), [("spans", "transformer.wte"), ("resample", "transformer.h.0")])
def test_positions_behind_padding_are_those_of_the_text_alone(
    rule: str, hook: str, pico_roberta: Path, leftist: Path, written: Path, tmp_path: Path
) -> None:
    asked = reading(pico_roberta, pico_roberta, written) | {"sequence": {"length": rule}}
    asked["target"] = {"model": str(leftist), "hook": hook}
    _, report = fit(asked, tmp_path / "out")
    assert not [note for note in report.notes if "at a time" in note]
    seen = observations(asked, "fit").collect()
    output, target = seen.frames["fit"].output, seen.target
    assert isinstance(output, Tensor)
    for i in range(len(output)):
        with torch.no_grad():
            own = target.model(**target.preparer.batch([seen.samples["fit"].target(i)])).logits[0]
        assert torch.allclose(output[i], own, **TOLERANCE)
    assert evaluate(tmp_path / "out", device="cpu").value("agreement") == report.value("agreement")
    predictor = Predictor(tmp_path / "out", device="cpu")
    each = [next(predictor([text]))["scores"] for text in TEXTS]
    assert same([answer["scores"] for answer in predictor(TEXTS)], each)
    pipe = tf.pipeline("stitched-classification", model=str(tmp_path / "out"), device="cpu")
    assert same([scores(one) for one in pipe(TEXTS, batch_size=4)], each)


def test_a_source_that_pads_before_is_read_as_alone(
    leftist: Path, pico_roberta: Path, written: Path, tmp_path: Path
) -> None:
    asked = reading(pico_roberta, pico_roberta, written)
    asked["source"] = {"model": str(leftist), "hook": "transformer.h.0"}
    fit(asked, tmp_path / "out")
    seen = observations(asked, "fit").collect()
    for i in range(len(seen.frames["fit"])):
        with torch.no_grad():
            inputs = seen.source.preparer.batch([seen.samples["fit"].source(i)])
            hidden = seen.source.model(**inputs, output_hidden_states=True).hidden_states[1][0]
        assert torch.allclose(seen.frames["fit"].source[i], hidden, **TOLERANCE)
    predictor = Predictor(tmp_path / "out", device="cpu")
    each = [next(predictor([text]))["scores"] for text in TEXTS]
    assert same([answer["scores"] for answer in predictor(TEXTS)], each)
