"""Checkpoints of half precision run on a CPU without being told how, in float32, and the report says so."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
import transformers as tf
from pico_recipes import reading

from hf_stitch.activations.hooked_model import open_hooked_model
from hf_stitch.cli.main import main
from hf_stitch.experiments.evaluate import evaluate
from hf_stitch.experiments.fit import fit
from hf_stitch.loading.half_precision import widened
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.models.predictor import Predictor
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.recipe.side import Side
from hf_stitch.runtime.runtime import Runtime

HOOKS = {"xlnet": "transformer.layer.0", "roberta": "roberta.encoder.layer.0", "wav2vec2": "wav2vec2.encoder.layers.0"}
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def narrow(folder: Path, place: Path, dtype: torch.dtype) -> Path:
    """A copy of a saved model in another precision."""
    shutil.copytree(folder, place)
    config = tf.AutoConfig.from_pretrained(folder)
    getattr(tf, config.architectures[0]).from_pretrained(folder).to(dtype).save_pretrained(place)
    return place


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("family", HOOKS)
def test_a_model_of_half_precision_is_opened_in_float32(
    family: str, dtype: torch.dtype, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = narrow(request.getfixturevalue(f"pico_{family}"), tmp_path / "half", dtype)
    side = Side.model_validate({"model": str(folder), "hook": HOOKS[family]})
    found = open_hooked_model(side, Runtime.start("cpu"))
    assert {one.dtype for one in found.model.parameters()} == {torch.float32}
    assert found.model.config.dtype == torch.float32
    (note,) = found.notes
    assert str(dtype).removeprefix("torch.") in note
    assert "runs in float32" in note
    as_asked = open_hooked_model(side, Runtime.start("cpu", str(dtype).removeprefix("torch.")))
    assert next(as_asked.model.parameters()).dtype == dtype, "what was asked for is heeded"
    assert as_asked.notes == ()


def test_other_precisions_are_left_as_they_are() -> None:
    model = tf.BertModel(tf.BertConfig(**SMALL, vocab_size=20, max_position_embeddings=16)).double()
    assert widened(model, "x") is None
    assert {one.dtype for one in model.parameters()} == {torch.float64}


def test_a_fit_notes_it_and_what_was_saved_in_half_precision_answers(
    pico_roberta: Path, pico_xlnet: Path, written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = narrow(pico_roberta, tmp_path / "roberta", torch.bfloat16)
    target = narrow(pico_xlnet, tmp_path / "xlnet", torch.float16)
    content = reading(source, target, written, sequence={"length": "resample"}, trust="none")
    model, report = fit(Recipe.parse(content), tmp_path / "out", device="cpu")
    told = [note for note in report.notes if "runs in float32" in note]
    assert len(told) == 2
    assert all(note in (tmp_path / "out" / "report.html").read_text() for note in told)
    assert next(model.parameters()).dtype == torch.float32
    assert main(["inspect", str(target)]) == 0
    assert "transformer.layer.0" in capsys.readouterr().out

    half = shutil.copytree(tmp_path / "out", tmp_path / "half")
    StitchedModel.from_pretrained(tmp_path / "out").half().save_pretrained(half)
    predictor = Predictor(half, device="cpu")
    (answer,) = predictor(["the film was very good"])
    assert answer["score"] == pytest.approx(
        next(Predictor(tmp_path / "out")(["the film was very good"]))["score"], abs=1e-2
    )
    assert [note for note in predictor.notes if "its weights are of float16" in note]
    assert [note for note in evaluate(half, device="cpu").notes if "its weights are of float16" in note]
    assert next(StitchedModel.from_pretrained(half).parameters()).dtype == torch.float16, "loaded as it was saved"
