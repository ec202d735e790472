"""NaN and infinite logits are no answer: refused by the model's name, never read as the first label or token."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf
from composites import whole
from safetensors.torch import load_file, save_file
from stitches import ears, end, letters, preparer, saved, words
from tiny_models import tiny

import hf_stitch
from hf_stitch.activations.collection import output_of
from hf_stitch.activations.text_output import TextOutput
from hf_stitch.cli.main import main
from hf_stitch.errors import ActivationError, ArtifactError, DataError
from hf_stitch.hooks.finite_logits import RefuseNaN
from hf_stitch.models.files_digest import seal
from hf_stitch.models.labels import shares
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.models.predictor import Predictor

hf_stitch.register()
SOUND = np.random.default_rng(0).normal(0, 0.1, 420).astype(np.float32)
TEXTS = ["w4 w5 w6", "w7 w8", "w9 w10 w11"]


def reader(folder: Path, **more: Any) -> Path:
    """Text onto a classifier, or with num_labels=1 a regression, of texts."""
    source, target = tiny("roberta"), tiny("roberta", **more)
    here = end(source, "roberta.encoder.layer.1", preparer(source))
    return saved(folder, here, end(target, "roberta.encoder.layer.1", preparer(target)), scale=1)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reader(tmp_path_factory.mktemp("no-answer") / "classifier", id2label={0: "calm", 1: "cross"})


def names_of(folder: Path) -> list[str]:
    weights = load_file(folder / "model.safetensors")
    return sorted(name for name, weight in weights.items() if weight.is_floating_point())


def spoilt(folder: Path, copy: Path, name: str, value: float) -> Path:
    """A copy with one number of one weight spoilt, as if it had been saved so: without the digest of what it was."""
    copy.mkdir()
    for file in folder.iterdir():
        if file.is_file():
            (copy / file.name).write_bytes(file.read_bytes())
    weights = load_file(folder / "model.safetensors")
    weights[name].view(-1)[-1] = value
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    config = json.loads((copy / "config.json").read_text())
    del config["weights_digest"]
    (copy / "config.json").write_text(json.dumps(config))
    return copy


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", ["prefix.", "layer.", "suffix."])
def test_a_weight_that_is_no_number_is_found_when_a_model_is_loaded(
    tmp_path: Path, classifier: Path, place: str, value: float, capsys: pytest.CaptureFixture[str]
) -> None:
    name = [name for name in names_of(classifier) if name.startswith(place)][-1]
    folder = spoilt(classifier, tmp_path / "spoilt", name, value)
    with pytest.raises(ArtifactError, match=rf"spoilt: 1 weights hold NaN or infinite .*{name}.*; copy or fit"):
        StitchedModel.from_pretrained(folder)
    (tmp_path / "a.txt").write_text(TEXTS[0])
    assert main(["predict", str(folder), str(tmp_path / "a.txt")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert str(folder) in err


def overflowing(one: Any, at: str) -> None:
    """From now on the module gives NaN for inputs that have the token w9, as an overflow in half precision does."""
    seen: list[torch.Tensor] = []
    one.model.prefix.register_forward_pre_hook(
        lambda module, args, given: seen.append((given["input_ids"] == 9).any(1)), with_kwargs=True
    )

    def spoil(module: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
        rows = seen[-1].reshape(-1, *[1] * (output.ndim - 1))
        return torch.where(rows, torch.nan, output)

    one.model.get_submodule(at).register_forward_hook(spoil)


@pytest.mark.parametrize(
    "more",
    [
        {"id2label": {0: "calm", 1: "cross"}},
        {"num_labels": 3, "problem_type": "multi_label_classification"},
        {"num_labels": 1},
        {"num_labels": 4, "problem_type": "regression"},
    ],
    ids=["labels", "several labels", "one number", "numbers"],
)
def test_an_input_without_an_answer_is_told_and_the_others_are_answered(tmp_path: Path, more: dict[str, Any]) -> None:
    one = Predictor(reader(tmp_path / "model", **more), device="cpu")
    fine = list(one(TEXTS))
    overflowing(one, "suffix.classifier")
    bad: list[str] = []
    found = list(one(TEXTS, lambda error: bad.append(str(error))))
    assert [row["input"] for row in found] == TEXTS[:2]
    assert found[0].keys() == fine[0].keys()
    assert len(bad) == 1
    for said in (TEXTS[2], str(tmp_path / "model"), "NaN"):
        assert said in bad[0]
    answers = one(TEXTS)
    assert [next(answers)["input"], next(answers)["input"]] == TEXTS[:2]
    with pytest.raises(DataError, match="NaN"):
        next(answers)
    for row in found:
        json.dumps(row, allow_nan=False)


def test_a_text_with_a_nan_among_its_logits_is_told_and_the_others_are_written(tmp_path: Path) -> None:
    source, target = tiny("roberta"), whole("bart")
    target.generation_config.update(forced_eos_token_id=None, suppress_tokens=[0, 1, 2, 3], max_new_tokens=4)
    there = end(target, "model.encoder.layers.1", preparer(target, words()))
    folder = saved(tmp_path / "writer", end(source, "roberta.encoder.layer.1", preparer(source)), there)
    config = json.loads((folder / "config.json").read_text())
    config["suffix"]["writes"] = TextOutput("encoder", (0, 1, 2)).to_dict()
    (folder / "config.json").write_text(json.dumps(config))
    words().save_pretrained(folder / "target_tokenizer")
    seal(folder)
    one = Predictor(folder, device="cpu")
    fine = list(one(TEXTS))
    overflowing(one, "layer")
    bad: list[str] = []
    assert list(one(TEXTS, lambda error: bad.append(str(error)))) == fine[:2]
    assert len(bad) == 1
    assert TEXTS[2] in bad[0]


PIPES = ("stitched-classification", "stitched-vector", "stitched-text", "frames")


@pytest.mark.parametrize("kind", PIPES)
def test_pipelines_refuse_it_by_name(tmp_path: Path, classifier: Path, kind: str) -> None:
    given: Any = TEXTS[0]
    at = "suffix.classifier"
    if kind == "stitched-classification":
        folder = classifier
    elif kind == "stitched-vector":
        here = end(tiny("roberta"), "roberta.encoder.layer.1", preparer(tiny("roberta")))
        folder = saved(tmp_path / "vector", here, end(tiny("t5_encoder"), "encoder.block.1"), {"ratio": 1.0})
        at = "layer"
    elif kind == "stitched-text":
        target = whole("bart")
        folder = saved(tmp_path / "text", ears(), end(target, "model.encoder.layers.1", preparer(target, words())))
        given, at = SOUND, "layer"
    else:
        target = tiny("hubert")
        there = end(target, "hubert.encoder.layers.0", preparer(target, letters(tmp_path)))
        folder = saved(tmp_path / "frames", ears(), there, {"ratio": 1.0})
        given, at = SOUND, "suffix.lm_head"
    pipe = tf.pipeline("stitched-text" if kind == "frames" else kind, model=str(folder), device="cpu")
    pipe(given)
    pipe.model.get_submodule(at).register_forward_hook(lambda module, args, output: output * torch.nan)
    with pytest.raises((DataError, ActivationError), match="NaN"):
        pipe(given)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_answers_are_checked_wherever_they_are_read(value: float, classifier: Path) -> None:
    logits = torch.tensor([[0.0, 1.0], [value, 0.5]])
    output = tf.modeling_outputs.SequenceClassifierOutput(logits=logits)
    with pytest.raises(ActivationError, match=r"^the-target: NaN or infinite logits for 1 of 2 inputs"):
        output_of(output, "target", "the-target")
    assert output_of(output, "source", "the-source") is logits  # what it answers itself is not looked at
    with pytest.raises(ActivationError, match=r"^the CTC head: NaN or infinite logits for 1 of 1 inputs"):
        TextOutput("ctc", (0,)).path(logits[None], torch.ones(1, 2, dtype=torch.bool))
    with pytest.raises(DataError, match=rf"^the model {classifier} answers with NaN or infinite numbers"):
        shares(StitchedModel.from_pretrained(classifier).config, logits)


def test_padding_may_hold_what_it_will() -> None:
    logits = torch.zeros(1, 3, 4)
    logits[:, 2] = torch.nan
    mask = torch.tensor([[True, True, False]])
    assert TextOutput("ctc", (0,)).path(logits, mask).lengths.tolist() == [0]


def test_minus_infinity_forbids_a_token_and_is_no_fault() -> None:
    scores = torch.tensor([[0.0, -math.inf]])
    assert RefuseNaN("me")(torch.tensor([[1]]), scores) is scores
    with pytest.raises(ActivationError, match=r"^me: "):
        RefuseNaN("me")(torch.tensor([[1]]), scores * torch.nan)
