"""The vector of a model without a head: as sentence-transformers makes it, as the recipe asks, or by default."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf
from pico_encoders import BY_HAND, by_hand, encoder, sentence_transformer
from tiny_models import tiny

from hf_stitch.activations.collection import output_of
from hf_stitch.activations.hooked_model import HookedModel, open_hooked_model
from hf_stitch.errors import StitchError
from hf_stitch.hooks.points import HookPoint
from hf_stitch.loading.vector_head import POOLINGS, vector_head_of
from hf_stitch.recipe.generation import Generation
from hf_stitch.recipe.side import Side
from hf_stitch.runtime.runtime import Runtime

LAYER = "encoder.layer.0"
TEXTS = ["the film was very good", " i never like this boring play so very very much ", "Great", "it was not So bad"]
TWO = {"pooling_mode_max_tokens": True, "pooling_mode_mean_tokens": True}
PROMPT = {"prompts": {"find": "this good ", "other": "bad "}, "default_prompt_name": "find"}
FOLDERS: dict[str, dict[str, Any]] = {
    **{flag.removeprefix("pooling_mode_"): {"pooling": {flag: True}} for flag in BY_HAND},
    "two side by side": {"pooling": TWO},
    "no further parts": {"parts": ()},
    "dense": {"parts": ("Dense", "Normalize")},
    "dense of two": {"pooling": TWO, "parts": ("Dense",)},
    "dropout": {"parts": ("Dropout", "Normalize")},
    "in 0_Transformer": {"inside": "0_Transformer", "parts": ("Dense",)},
    "cut": {"reading": {"max_seq_length": 5}, "inside": "0_Transformer"},
    "lower case": {"reading": {"max_seq_length": 20, "do_lower_case": True}},
    "prompt": {"settings": PROMPT},
    "mpnet": {"kind": "MPNet", "hook": LAYER},
    "distilbert": {"kind": "DistilBert", "dim": 16, "n_heads": 2, "n_layers": 2, "hook": "transformer.layer.0"},
}


def opened(folder: Path, hook: str = LAYER, **side: Any) -> HookedModel:
    return open_hooked_model(
        Side.model_validate({"model": str(folder), "hook": hook, **side}), Runtime.start("cpu"), Generation()
    )


def vectors(end: HookedModel, texts: list[str]) -> np.ndarray:
    """The model's own answers to a padded batch."""
    with torch.no_grad():
        found = output_of(end.model(**end.preparer.batch(texts)), "target")
    assert found is not None
    return found.numpy()


@pytest.mark.parametrize("changes", FOLDERS.values(), ids=FOLDERS)
def test_the_vector_is_that_of_sentence_transformers(changes: dict[str, Any], tmp_path: Path) -> None:
    changes = dict(changes)
    hook = changes.pop("hook", LAYER)
    folder = sentence_transformer(tmp_path / "st", seed=3, **changes)
    wanted = by_hand(folder, TEXTS, changes.get("inside", ""))
    end = opened(folder, hook)
    np.testing.assert_allclose(vectors(end, TEXTS), wanted, atol=1e-6)
    assert np.abs(wanted - wanted[0]).max() > 1e-3, "texts of which nothing is seen would be alike"
    end.preparer.save(tmp_path / "saved")
    again = tf.AutoTokenizer.from_pretrained(tmp_path / "saved")
    for text in TEXTS:
        assert again(text, truncation=True)["input_ids"] == end.preparer.batch([text])["input_ids"][0].tolist()


@pytest.mark.parametrize("mode", ["cls", ["max", "mean"]])
def test_newer_folders_name_the_pooling(mode: Any, tmp_path: Path) -> None:
    flags = {"pooling_mode_max_tokens": mode != "cls", "pooling_mode_mean_tokens": mode != "cls"}
    folder = sentence_transformer(tmp_path, pooling={"pooling_mode_cls_token": mode == "cls", **flags})
    wanted = by_hand(folder, TEXTS)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"embedding_dimension": 16, "pooling_mode": mode}))
    np.testing.assert_allclose(vectors(opened(folder), TEXTS), wanted, atol=1e-6)


def test_a_pooling_alone_is_read_without_a_list_of_modules(tmp_path: Path) -> None:
    folder = sentence_transformer(tmp_path, pooling={"pooling_mode_cls_token": True}, parts=())
    wanted = by_hand(folder, TEXTS)
    (folder / "modules.json").unlink()
    np.testing.assert_allclose(vectors(opened(folder), TEXTS), wanted, atol=1e-6)


FLAGS = {
    "cls": "pooling_mode_cls_token",
    "lasttoken": "pooling_mode_lasttoken",
    **{name: f"pooling_mode_{name}_tokens" for name in ("mean", "max", "weightedmean")},
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
}


@pytest.mark.parametrize("name", [None, *POOLINGS])
def test_the_recipe_names_a_pooling_and_the_mean_is_the_default(name: str | None, tmp_path: Path) -> None:
    end = opened(encoder(tmp_path), **({} if name is None else {"pooling": name}))
    found = vectors(end, TEXTS)
    for text, row in zip(TEXTS, found):
        with torch.no_grad():
            states = end.model(**end.preparer.batch([text])).last_hidden_state[0]
        np.testing.assert_allclose(row, BY_HAND[FLAGS[name or "mean"]](states), atol=1e-5)
    head = vector_head_of(end.model)
    assert head is not None
    assert head.by_default == (name is None)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("name", POOLINGS)
def test_padding_is_no_part_of_a_pooling_on_either_side(name: str, side: str) -> None:
    generator = torch.Generator().manual_seed(0)
    states, lengths = torch.randn(5, 7, 3, generator=generator), torch.tensor([7, 1, 4, 2, 6])
    mask = torch.arange(7) < lengths[:, None]
    mask = mask.flip(1) if side == "left" else mask
    spoilt = torch.where(mask.unsqueeze(-1), states, torch.nan)
    found = POOLINGS[name](spoilt, mask)
    for row, real, pooled in zip(states, mask, found):
        torch.testing.assert_close(pooled, BY_HAND[FLAGS[name]](row[real]))


def test_a_pooler_is_taken_where_it_is_asked_for(tmp_path: Path) -> None:
    end = opened(encoder(tmp_path), pooling="pooler_output")
    with torch.no_grad():
        pooled = end.model(**end.preparer.batch(TEXTS)).pooler_output
    np.testing.assert_array_equal(vectors(end, TEXTS), pooled)


OTHERS: dict[str, tuple[Any, Any, Any]] = {
    "vit": (
        lambda: tiny("vit").vit,
        {"pixel_values": torch.randn(2, 3, 16, 16)},
        lambda o: o.last_hidden_state.mean(1),
    ),
    "resnet": (
        lambda: tiny("resnet").resnet,
        {"pixel_values": torch.randn(2, 3, 32, 32)},
        lambda o: o.last_hidden_state.mean((2, 3)),
    ),
    "clip text": (
        lambda: tiny("clip_text"),
        {"input_ids": torch.tensor([[1, 7, 8, 59], [1, 9, 59, 59]])},
        lambda o: o.text_embeds,
    ),
    "gpt2": (
        lambda: tiny("gpt2").transformer,
        {"input_ids": torch.tensor([[7, 8, 9], [9, 8, 7]]), "attention_mask": torch.tensor([[1, 1, 1], [1, 1, 0]])},
        lambda o: torch.stack([o.last_hidden_state[0].mean(0), o.last_hidden_state[1, :2].mean(0)]),
    ),
    "wav2vec2": (
        lambda: tiny("wav2vec2_stable").wav2vec2,
        {"input_values": torch.randn(2, 400), "attention_mask": torch.tensor([[1] * 400, [1] * 200 + [0] * 200])},
        lambda o: torch.stack([o.last_hidden_state[0].mean(0), o.last_hidden_state[1, :9].mean(0)]),
    ),
    "t5 encoder": (
        lambda: tiny("t5_encoder"),
        {"input_ids": torch.tensor([[7, 8, 9], [9, 8, 7]]), "attention_mask": torch.tensor([[1, 1, 1], [1, 1, 0]])},
        lambda o: torch.stack([o.last_hidden_state[0].mean(0), o.last_hidden_state[1, :2].mean(0)]),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("make", "inputs", "wanted"), OTHERS.values(), ids=OTHERS)
def test_whatever_has_states_or_an_embedding_answers_with_a_vector(make: Any, inputs: Any, wanted: Any) -> None:
    from hf_stitch.loading.vector_answers import with_vector

    model = with_vector(Side(model="in-memory/model", hook="any"), make().eval(), wanted=True)
    with torch.no_grad():
        output = model(**inputs)
    found = output_of(output, "target")
    assert found is not None
    torch.testing.assert_close(found, wanted(output), atol=1e-6, rtol=0)
    assert next(iter(output)) == "embeddings", "pipelines read the first output"


def test_the_head_is_hooked_like_any_layer(tmp_path: Path) -> None:
    folder = sentence_transformer(tmp_path, parts=("Dense", "Normalize"))
    widths = {"vector.pooling": 16, "vector.steps.0": 12, "vector": 12}
    for hook, width in widths.items():
        assert opened(folder, hook).point == HookPoint(hook, None, "flat", width)


WRONG: dict[str, tuple[Any, dict[str, Any], str]] = {
    "unknown part": (lambda f: renamed(f, "Normalize", "LSTM"), {}, "a module LSTM, which is not supported"),
    "no pooling first": (lambda f: renamed(f, "Pooling", "WeightedLayerPooling"), {}, "a module WeightedLayerPooling"),
    "no list": (lambda f: (f / "modules.json").write_text('{"a": 1}'), {}, "modules.json is no list of modules"),
    "no json": (lambda f: (f / "modules.json").write_text("["), {}, "modules.json is no JSON"),
    "outside": (lambda f: renamed(f, '"1_Pooling"', '"../1_Pooling"'), {}, "outside of the model's own"),
    "no config": (lambda f: (f / "1_Pooling" / "config.json").unlink(), {}, "1_Pooling/config.json is missing"),
    "no way": (lambda f: (f / "1_Pooling" / "config.json").write_text("{}"), {}, r"pools by \[\]; expected some of"),
    "pickled": (lambda f: pickled(f), {}, "2_Dense, and pickles are never loaded"),
    "other weights": (lambda f: shutil.copy(f / "model.safetensors", f / "2_Dense"), {}, "not those of its config"),
    "other widths": (lambda f: pooled(f, TWO), {}, "parts do not fit together"),
    "activation": (lambda f: activated(f, "os.system"), {}, "none of torch.nn's"),
    "own pooling": (lambda f: None, {"pooling": "cls"}, r"its own \(mean, dense, normalize\): leave it out"),
}  # fmt: skip


def renamed(folder: Path, old: str, new: str) -> None:
    text = (folder / "modules.json").read_text()
    (folder / "modules.json").write_text(text.replace(f"models.{old}", f"models.{new}") if '"' not in old
                                         else text.replace(old, new))  # fmt: skip


def pickled(folder: Path) -> None:
    (folder / "2_Dense" / "model.safetensors").rename(folder / "2_Dense" / "pytorch_model.bin")


def pooled(folder: Path, flags: dict[str, Any]) -> None:
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(flags))


def activated(folder: Path, name: str) -> None:
    path = folder / "2_Dense" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"activation_function": name}))


@pytest.mark.parametrize(("spoil", "side", "message"), WRONG.values(), ids=WRONG)
def test_what_is_no_such_folder_is_refused_when_it_is_opened(
    spoil: Any, side: dict[str, Any], message: str, tmp_path: Path
) -> None:
    folder = sentence_transformer(tmp_path, parts=("Dense", "Normalize"))
    spoil(folder)
    with pytest.raises(StitchError, match=message) as caught:
        opened(folder, **side)
    assert "\n" not in str(caught.value)


HEADS: dict[str, tuple[Any, dict[str, Any], str]] = {
    "masked": (lambda: tf.BertForMaskedLM, {}, "BertForMaskedLM. answers with logits .* BertModel gives a vector"),
    "tokens": (lambda: tf.BertForTokenClassification, {}, "expected one row of logits a sample"),
    "classes": (lambda: tf.BertForSequenceClassification, {"pooling": "mean"}, "or give the class without"),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "side", "message"), HEADS.values(), ids=HEADS)
def test_other_heads_are_refused_when_they_are_opened(
    kind: Any, side: dict[str, Any], message: str, tmp_path: Path
) -> None:
    config = tf.AutoConfig.from_pretrained(encoder(tmp_path))
    kind()(config).save_pretrained(tmp_path)
    with pytest.raises(StitchError, match=message):
        opened(tmp_path, "bert.encoder.layer.0", **side)


@pytest.mark.parametrize("family", ["whisper", "clip"])
def test_two_vectors_and_those_of_decoders_are_refused(family: str) -> None:
    from hf_stitch.loading.vector_answers import with_vector

    with pytest.raises(StitchError, match="expected one row of logits a sample"):
        with_vector(Side(model="in-memory/model", hook="any"), tiny(family), wanted=True)
