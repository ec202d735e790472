"""A model that needs more than its processor makes: fitted, saved, loaded and asked, from a recipe and from Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as tf
from pico_recipes import ROBERTA_HOOK, saved, split
from pico_texts import WORDS, _piece_tokenizer
from stitches import preparer
from tiny_models import T5, tiny

from hf_stitch import StitchedModel, fit
from hf_stitch.activations.hooked_model import hooked_model_of, open_hooked_model
from hf_stitch.cli.main import main
from hf_stitch.errors import ProbeError, RecipeError
from hf_stitch.loading.modality import modality
from hf_stitch.models.predictor import Predictor
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.recipe.side import Side
from hf_stitch.runtime.runtime import Runtime

SIZES = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
VOCABULARY = ["<s>", "<pad>", "</s>", "<unk>", *WORDS]
BOX = {"bbox": {"shape": ["b", "t", 4], "value": [0.0, 0.1, 0.5, 0.9]}}
BROS_HOOK = "bros.encoder.layer.0"


@pytest.fixture(scope="module")
def bros(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny BROS, which reads tokens and where each stands on its page."""
    folder = tmp_path_factory.mktemp("pico-bros")
    _piece_tokenizer(VOCABULARY).save_pretrained(folder)
    torch.manual_seed(5)
    config = tf.BrosConfig(vocab_size=len(VOCABULARY), max_position_embeddings=66, pad_token_id=1, **SIZES)
    tf.BrosForTokenClassification(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny T5 that starts its answers with the token 3."""
    folder = tmp_path_factory.mktemp("pico-t5")
    _piece_tokenizer(VOCABULARY).save_pretrained(folder)
    torch.manual_seed(5)
    config = tf.T5Config(**T5 | {"vocab_size": len(VOCABULARY)}, decoder_start_token_id=3, pad_token_id=1)
    tf.T5ForConditionalGeneration(config).save_pretrained(folder)
    return folder


def recipe(source: Path, target: Path, written: Path, inputs: Any = None, hook: str = BROS_HOOK) -> dict[str, Any]:
    columns = {"source": "text", "label": "label", "id": "id"}
    side = {"model": str(source), "hook": hook}
    return {
        "source": side if inputs is None else {**side, "inputs": inputs},
        "target": {"model": str(target), "hook": ROBERTA_HOOK},
        "data": {name: split(written, name, columns) for name in ("fit", "test")},
        "sequence": {"length": "resample"},
    }


def check_answers(folder: Path, model: Any, text: str = "the film was very good") -> None:
    """A saved model answers as the fitted one, given what the tokenizer saved with it makes."""
    back = StitchedModel.from_pretrained(folder).eval()
    tokenizer = tf.AutoTokenizer.from_pretrained(folder)
    tokens = tokenizer([text, "so bad"], padding=True, return_tensors="pt", return_token_type_ids=False)
    with torch.no_grad():
        assert torch.equal(back(**tokens).logits, model(**tokens).logits)
    [found] = Predictor(folder)([text])
    with torch.no_grad():
        assert found["label"] == model.config.id2label[int(model(**tokens).logits[0].argmax())]


def test_a_recipe_gives_a_model_what_its_processor_does_not(
    bros: Path, pico_roberta: Path, written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = recipe(bros, pico_roberta, written, BOX)
    model, report = fit(content, tmp_path / "out")
    assert report.recipe["source"]["inputs"] == BOX
    assert report.parameters["multiply_adds"]["prefix"] > 0
    check_answers(tmp_path / "out", model)
    tokens = torch.tensor([[0, 5, 6, 2]])
    with torch.no_grad():
        frames = [model.activations({"input_ids": tokens, **more})[0] for more in ({}, {"bbox": torch.rand(1, 4, 4)})]
        box = torch.tensor(BOX["bbox"]["value"]).expand(1, 4, 4)
        whole = tf.BrosForTokenClassification.from_pretrained(bros)(
            input_ids=tokens, bbox=box, output_hidden_states=True
        )
    assert torch.equal(frames[0], whole.hidden_states[1])
    assert not torch.equal(*frames)  # the caller's own come first
    assert told(capsys, 0, "inspect", tmp_path / "out").count("multiply-adds") == 1


def told(capsys: pytest.CaptureFixture[str], status: int, *words: object) -> str:
    """What one command says, in one line."""
    capsys.readouterr()
    found = main([str(word) for word in words])
    out = " ".join("".join(capsys.readouterr()).split())
    assert found == status, out
    return out


def test_without_them_the_recipe_s_reader_is_told_of_the_recipe(
    bros: Path, pico_roberta: Path, written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(recipe(bros, pico_roberta, written), tmp_path)
    for more in (["--out", tmp_path / "out"], ["--rehearse"]):
        said = told(capsys, 2, "fit", path, *more)
        assert "You have to specify bbox" in said
        assert "describe them as `inputs:` at this side of the recipe" in said
        assert "make_inputs" not in said
    told(capsys, 0, "fit", path, "--rehearse", f"source.inputs={BOX}")


def test_inspect_takes_them_as_an_option(bros: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "describe its inputs, as in --inputs" in told(capsys, 2, "inspect", bros)
    assert "bros.encoder.layer.0" in told(capsys, 0, "inspect", bros, "--inputs", "bbox: {shape: [b, t, 4]}")
    for wrong, words in (("bbox: {shape: [q]}", "each axis is"), ("bobx: {value: 1}", "did you mean 'bbox'")):
        assert words in told(capsys, 2, "inspect", bros, "--inputs", wrong)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"bobx": {"shape": ["b", "t", 4]}}, "takes no such input; did you mean 'bbox'"),
        (
            {"bbox": {"shape": ["b", "t", 4]}},
            "no processor makes it, and the model cannot run without; give it a `value`",
        ),
    ],
)
def test_inputs_that_cannot_serve_are_refused_when_the_model_is_opened(bros: Path, inputs: Any, words: str) -> None:
    side = Side.model_validate({"model": str(bros), "hook": BROS_HOOK, "inputs": inputs})
    with pytest.raises(RecipeError, match=words):
        open_hooked_model(side, Runtime.start("cpu"))


def test_a_function_does_from_python(bros: Path, pico_roberta: Path, written: Path, tmp_path: Path) -> None:
    def make_inputs(batch: int, length: int) -> dict[str, Any]:
        draw = torch.Generator().manual_seed(batch * 100 + length)
        box = torch.tensor(BOX["bbox"]["value"]).expand(batch, length, 4)
        return {"input_ids": torch.randint(4, len(VOCABULARY), (batch, length), generator=draw), "bbox": box}

    content = recipe(bros, pico_roberta, written)
    model, _ = fit(content, tmp_path / "out", make_inputs={"source": make_inputs})
    check_answers(tmp_path / "out", model)
    with pytest.raises(ProbeError, match="mend the function `make_inputs`"):
        fit(
            content,
            make_inputs={"source": lambda batch, length: {"input_ids": make_inputs(batch, length)["input_ids"]}},
        )


def test_a_source_inside_its_own_decoder_reads_the_start_token(
    t5: Path, pico_roberta: Path, written: Path, tmp_path: Path
) -> None:
    content = recipe(t5, pico_roberta, written, hook="decoder.block.1")
    content["sequence"] = {"length": "resample", "target_length": "constant"}
    model, _ = fit(content, tmp_path / "out")
    check_answers(tmp_path / "out", model)
    whole = tf.T5ForConditionalGeneration.from_pretrained(t5).eval()
    tokens = torch.tensor([[5, 6, 7, 2], [8, 2, 1, 1]])
    mask = (tokens != 1).long()
    with torch.no_grad():
        frames, real, _ = model.activations({"input_ids": tokens, "attention_mask": mask})
        seen = whole(
            input_ids=tokens, attention_mask=mask, decoder_input_ids=torch.full((2, 1), 3), output_hidden_states=True
        )
    assert torch.equal(frames, seen.decoder_hidden_states[2])
    assert real.tolist() == [[True], [True]]
    content["source"]["inputs"] = {"decoder_input_ids": {"shape": ["b", 3], "value": [3, 5, 6]}}
    end = open_hooked_model(Recipe.parse(content).source, Runtime.start("cpu"))
    assert end.preparer.batch(["good film"])["decoder_input_ids"].tolist() == [[3, 5, 6]]


DECODERS = {
    "whisper": ("decoder.layers.1", 1), "speech_encoder_decoder": ("decoder.model.decoder.layers.1", 0),
    "t5": ("decoder.block.1", 0), "bart": ("model.decoder.layers.1", None), "mbart": ("model.decoder.layers.1", None),
}  # fmt: skip


@pytest.mark.parametrize("family", DECODERS)
def test_decoders_that_read_nothing_by_themselves_are_started(family: str) -> None:
    """BART and mBART make their decoder's input from the encoder's."""
    hook, token = DECODERS[family]
    model = tiny(family)
    end = hooked_model_of(Side(model="by-hand", hook=hook), model, preparer(model), "stamp", Runtime.start("cpu"))
    fixed = end.preparer.fixed
    assert (None if fixed is None else fixed.given["decoder_input_ids"].value) == token


def test_a_decoder_without_a_start_token_asks_for_one() -> None:
    model = tiny("t5")
    for config in (model.config, model.generation_config):
        config.decoder_start_token_id = config.bos_token_id = None
    side = Side(model="by-hand", hook="decoder.block.1")
    with pytest.raises(RecipeError, match=r"has no start token.*inputs: \{decoder_input_ids: \{shape: \[b, 1\]"):
        hooked_model_of(side, model, preparer(model), "stamp", Runtime.start("cpu"))


@pytest.mark.parametrize(
    ("kind", "name"),
    [("SequenceClassification", "text"), ("MaskedLM", "text"), ("ImageClassificationLearned", "image")],
)
def test_perceiver_reads_what_its_second_name_says(kind: str, name: str) -> None:
    assert modality(tf.PerceiverConfig(architectures=[f"PerceiverFor{kind}"])) == name


def test_an_encoder_needs_no_start_token(t5: Path) -> None:
    end = open_hooked_model(Side(model=str(t5), hook="encoder.block.1"), Runtime.start("cpu"))
    assert end.preparer.fixed is None
