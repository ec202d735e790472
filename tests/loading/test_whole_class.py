"""Checkpoints whose config.json names another class than they have the weights of: the right one is found, and told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as tf
from tiny_models import FAMILIES, IMAGE, SPEECH, T5, TEXT

from hf_stitch.errors import ArtifactError
from hf_stitch.loading.models import load_model
from hf_stitch.loading.whole_class import told_class, told_pooler
from hf_stitch.recipe.side import Side

SHORT = TEXT | {"max_position_embeddings": 40}
Make = Callable[[], tf.PreTrainedModel]


def side(model: Path, **more: str) -> Side:
    return Side.model_validate({"model": str(model), "hook": "any", **more})


def saved(model: tf.PreTrainedModel, folder: Path, said: str | None) -> Path:
    model.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config.pop("architectures")
    (folder / "config.json").write_text(json.dumps(config | ({"architectures": [said]} if said else {})))
    return folder


KINDS: dict[str, tuple[Make, str | None]] = {
    "as all-mpnet-base-v2": (lambda: tf.MPNetModel(tf.MPNetConfig(**SHORT)), "MPNetForMaskedLM"),
    "text without a head": (lambda: tf.BertModel(tf.BertConfig(**SHORT)), "BertForMaskedLM"),
    "text under a task": (lambda: tf.RobertaModel(tf.RobertaConfig(**SHORT)), "RobertaForSequenceClassification"),
    "an encoder alone": (lambda: tf.T5EncoderModel(tf.T5Config(**T5)), "T5ForConditionalGeneration"),
    "sound without a head": (lambda: tf.Wav2Vec2Model(tf.Wav2Vec2Config(**SPEECH)), "Wav2Vec2ForPreTraining"),
    "pictures without a head": (lambda: tf.ViTModel(tf.ViTConfig(**IMAGE)), "ViTForImageClassification"),
    "another head": (lambda: tf.BertForMaskedLM(tf.BertConfig(**SHORT)), "BertForSequenceClassification"),
    "a task under another": (lambda: FAMILIES["mpnet"](), "MPNetForMaskedLM"),
    "another family": (lambda: FAMILIES["bert"](), "RobertaForSequenceClassification"),
    "tokens": (lambda: tf.BertForTokenClassification(tf.BertConfig(**SHORT)), "BertForSequenceClassification"),
    "no class": (lambda: tf.BertForMaskedLM(tf.BertConfig(**SHORT)), None),
    "a class of somebody": (lambda: tf.BertForMaskedLM(tf.BertConfig(**SHORT)), "OurBertModel"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_class_that_is_whole_is_taken_and_told(kind: str, tmp_path: Path) -> None:
    make, said = KINDS[kind]
    torch.manual_seed(0)
    model = make()
    folder = saved(model, tmp_path / "model", said)
    found = load_model(side(folder))
    assert type(found) is type(model)
    state, own = found.state_dict(), model.state_dict()
    assert state.keys() == own.keys()
    assert all(torch.equal(state[key], own[key]) for key in own), "no weight is random"
    note = told_class(found.config, found, "mine")
    assert note is not None
    assert note.startswith("mine: its config.json ")
    assert type(model).__name__ in note
    assert (said or "names no class") in note


@pytest.mark.parametrize("kind", ["as all-mpnet-base-v2", "an encoder alone", "sound without a head", "another head"])
def test_a_class_that_was_asked_for_is_not_replaced_but_the_whole_one_named(kind: str, tmp_path: Path) -> None:
    make, _ = KINDS[kind]
    model = make()
    folder = saved(model, tmp_path / "model", None)
    config, own = type(model.config), type(model).__name__
    others = (tf.AutoModelForQuestionAnswering, tf.AutoModelForCTC, tf.AutoModelForMaskedImageModeling)
    task = next(one for one in others if config in one._model_mapping)
    with pytest.raises(ArtifactError, match=rf"would be random.*has all of {own}: set `class` to that") as caught:
        load_model(side(folder, **{"class": task._model_mapping[config].__name__}))
    assert "\n" not in str(caught.value)
    assert type(load_model(side(folder, **{"class": own}))) is type(model), "what is advised helps"


@pytest.mark.parametrize("name", ["bert", "gpt2_lm", "t5", "wav2vec2", "vit", "clip", "tanh"])
def test_of_what_config_says_truly_nothing_is_told(name: str, tmp_path: Path) -> None:
    model: Any = FAMILIES[name]()
    model.config.architectures = [type(model).__name__]
    assert told_class(model.config, model, "mine") is None


@pytest.mark.parametrize("said", ["BertModel", "BertForMaskedLM", None])
@pytest.mark.parametrize("asked", [None, "BertModel"])
def test_without_a_pooler_its_output_is_zero_and_that_is_told(
    said: str | None, asked: str | None, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = tf.BertModel(tf.BertConfig(**SHORT), add_pooling_layer=False).eval()
    folder = saved(model, tmp_path / "model", said)
    found: Any = load_model(side(folder, **({"class": asked} if asked else {})))
    ids = torch.tensor([[3, 4, 5]])
    with torch.no_grad():
        answer = found(ids)
        assert torch.equal(answer.last_hidden_state, model(ids).last_hidden_state)
    assert not answer.pooler_output.any()
    assert told_pooler(found, "mine") == "mine: the checkpoint has no weights of the pooler, whose output is zero"


def test_where_no_class_is_whole_that_is_told(pico_roberta: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = saved(load_model(side(pico_roberta)), tmp_path / "model", "RobertaForSequenceClassification")
    weights = load_file(folder / "model.safetensors")
    del weights["roberta.encoder.layer.1.output.dense.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        ArtifactError, match=r"layer\.1\.output\.dense\.weight'; no class of its family.*whole checkpoint"
    ):
        load_model(side(folder))
