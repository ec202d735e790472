"""The stitched model as a Hugging Face model: saved, loaded, batched, trained, piped, and refused when damaged."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf
from pico_recipes import listening, reading
from pico_speech import RATE
from safetensors.torch import load_file, save_file
from saved_models import SOUNDS, TEXTS, inputs_of, load
from torch import Tensor

import hf_stitch
from hf_stitch.errors import ActivationError, ArtifactError
from hf_stitch.experiments.fit import fit
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.recipe.recipe import Recipe

KINDS = ["reader", "listener", "mapper"]


def fitted(content: dict[str, Any], folder: Path) -> Path:
    content["data"].pop("test")
    fit(Recipe.parse(content), folder, device="cpu")
    return folder


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory, pico_roberta: Path, pico_xlnet: Path, written: Path) -> Path:
    """RoBERTa onto the first block of XLNet by spans, affine."""
    return fitted(reading(pico_roberta, pico_xlnet, written), tmp_path_factory.mktemp("reader") / "out")


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory, pico_listener: Path, pico_xlnet: Path, spoken: Path) -> Path:
    """Wav2Vec2 onto the words of XLNet by ctc: a spline in float64 with landing."""
    stitch = {"method": "rbf", "smoothing": 1.0, "landing": "nearest"}
    content = listening(pico_listener, pico_xlnet, spoken, stitch=stitch)
    return fitted(content, tmp_path_factory.mktemp("listener") / "out")


@pytest.fixture(scope="module")
def mapper(tmp_path_factory: pytest.TempPathFactory, pico_roberta: Path, pico_xlnet: Path, written: Path) -> Path:
    """RoBERTa onto XLNet by two diffusion maps, resampled."""
    stitch = {"method": "diffusion", "sides": "both", "coordinates": 8}
    content = reading(pico_roberta, pico_xlnet, written, stitch=stitch, data={"fit": {"samples": 20}})
    content["sequence"] = {"length": "resample"}
    return fitted(content, tmp_path_factory.mktemp("mapper") / "out")


@pytest.fixture
def folder(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


def logits(model: StitchedModel, inputs: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        return model(**inputs).logits


@pytest.fixture(autouse=True)
def _registered() -> None:
    hf_stitch.register()


every = pytest.mark.parametrize("folder", KINDS, indirect=True)

# saving and loading

ELSEWHERE = """
import sys, torch
from hf_stitch import StitchedModel
for folder, name in zip(sys.argv[1::2], sys.argv[2::2]):
    model = StitchedModel.from_pretrained(folder)
    assert not model.training
    with torch.no_grad():
        torch.save(model(**torch.load(name)).logits, name)
"""


def test_another_process_gives_the_same_bits(reader: Path, listener: Path, mapper: Path, tmp_path: Path) -> None:
    words = []
    for i, folder in enumerate((reader, listener, mapper)):
        torch.save(inputs_of(folder), tmp_path / f"{i}.pt")
        words += [str(folder), str(tmp_path / f"{i}.pt")]
    subprocess.run([sys.executable, "-c", ELSEWHERE, *words], check=True)
    for i, folder in enumerate((reader, listener, mapper)):
        assert torch.equal(torch.load(tmp_path / f"{i}.pt"), logits(load(folder), inputs_of(folder)))


@every
@pytest.mark.parametrize("shard", ["5GB", "4KB"])
def test_saving_again_keeps_every_bit(folder: Path, tmp_path: Path, shard: str) -> None:
    model = load(folder)
    model.save_pretrained(tmp_path / "copy", max_shard_size=shard)
    files = list((tmp_path / "copy").glob("*.safetensors"))
    assert (len(files) > 1) == (shard == "4KB")
    again = load(tmp_path / "copy")
    state = again.state_dict()
    assert state.keys() == model.state_dict().keys()
    for name, value in model.state_dict().items():
        assert state[name].dtype == value.dtype
        assert torch.equal(state[name], value), name
    assert torch.equal(logits(again, inputs_of(folder)), logits(model, inputs_of(folder)))


@every
def test_only_what_runs_is_saved(folder: Path) -> None:
    model = load(folder)
    assert set(load_file(folder / "model.safetensors")) == set(model.state_dict())
    model.requires_grad_(True)
    model(**inputs_of(folder)).logits.square().sum().backward()
    idle = {
        name
        for half in (model.prefix, model.suffix)
        for name, parameter in half.named_parameters()
        if parameter.grad is None
    }
    # XLNet's attention holds what token types would need; ctc runs the rest of the source only for its best classes.
    excused = r"transformer\.layer\.\d\.rel_attn\.(r_s_bias|seg_embed)"
    if "listener" in str(folder):
        excused += r"|wav2vec2\.encoder\.(layers\.1|layer_norm)\..*|lm_head\..*"
    assert not [name for name in idle if not re.fullmatch(excused, name)]


@every
def test_auto_classes_load_it(folder: Path) -> None:
    assert type(tf.AutoConfig.from_pretrained(folder)).__name__ == "StitchedConfig"
    inputs = inputs_of(folder)
    wanted = logits(load(folder), inputs)
    classes = ["AutoModel", "AutoModelForSequenceClassification", "AutoModelForAudioClassification"]
    for name in classes:
        model = getattr(tf, name).from_pretrained(folder).eval()
        assert isinstance(model, StitchedModel)
        assert torch.equal(logits(model, inputs), wanted)
    processor = tf.AutoProcessor.from_pretrained(folder)
    assert processor is not None


@every
def test_the_config_says_what_it_is(folder: Path, tmp_path: Path) -> None:
    model = load(folder)
    assert model.config.id2label == {0: "negative", 1: "positive"}
    assert model.config.num_labels == 2
    assert model.main_input_name == ("input_values" if "listener" in str(folder) else "input_ids")
    assert model.config.get_text_config() is model.config
    assert (folder / "README.md").is_file()
    model.config.save_pretrained(tmp_path)
    again = tf.AutoConfig.from_pretrained(tmp_path)
    assert {**again.to_dict(), "_name_or_path": ""} == {**model.config.to_dict(), "_name_or_path": ""}
    assert type(again.source) is type(model.prefix.config)
    assert again.source.to_dict() == model.config.source.to_dict()


@every
def test_device_map_and_dtype(folder: Path) -> None:
    inputs = inputs_of(folder)
    wanted = logits(load(folder), inputs)
    assert torch.equal(logits(load(folder, device_map="cpu"), inputs), wanted)
    half = load(folder, dtype=torch.bfloat16)
    assert {p.dtype for p in half.prefix.parameters()} == {torch.bfloat16}
    layer = load(folder).layer.state_dict()
    for name, value in half.layer.state_dict().items():
        assert value.dtype == layer[name].dtype
        assert torch.equal(value, layer[name]), name


@every
def test_half_precision_does_not_destroy_the_layer(folder: Path) -> None:
    model = load(folder)
    layer = {name: value.clone() for name, value in model.layer.state_dict().items()}
    model.to(torch.bfloat16)
    for name, value in model.layer.state_dict().items():
        assert torch.equal(value, layer[name]), name
    inputs = {key: value.bfloat16() if value.is_floating_point() else value for key, value in inputs_of(folder).items()}
    answer = logits(model, inputs)
    assert answer.dtype == torch.bfloat16
    assert answer.isfinite().all()
    model.float()
    assert all(torch.equal(value, layer[name]) for name, value in model.layer.state_dict().items())


# damage


@pytest.fixture
def copy(reader: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(reader, tmp_path / "copy"))


@pytest.mark.parametrize("kept", [0, 4, 1000, -1])
def test_truncated_weights(copy: Path, kept: int) -> None:
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    with pytest.raises(ArtifactError, match=r"copy: the weights cannot be read .*; the file is truncated"):
        load(copy)


def test_weights_that_are_not_there(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    with pytest.raises(ArtifactError, match=r"copy: .*no file named model.safetensors.*; copy or fit it again"):
        load(copy)


@pytest.mark.parametrize("change", ["fewer", "more"])
def test_weights_of_something_else(copy: Path, change: str) -> None:
    state = load_file(copy / "model.safetensors")
    if change == "more":
        state["prefix.classifier.weight"] = torch.zeros(2)
    else:
        state.pop("layer.weight")
    save_file(state, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        ArtifactError, match=r"weights and config disagree on 1 tensors \((layer.weight|prefix.classifier)"
    ):
        load(copy)


@pytest.mark.parametrize("came", [0, 5, "1.5"])
def test_another_format(copy: Path, came: Any) -> None:
    config = json.loads((copy / "config.json").read_text())
    config["stitch_format"] = came
    config["layer"] = {"another": "layout"}
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(ArtifactError, match=rf"copy has format {came}, this hf_stitch reads format 2; fit it again"):
        load(copy)


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"holds no config.json: expected a folder written by `hf-stitch fit`"):
        load(tmp_path)


def test_another_model(pico_xlnet: Path) -> None:
    with pytest.raises(ArtifactError, match=r"pico-xlnet\d* holds no stitched model"):
        load(pico_xlnet)


def test_a_damaged_layer(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    config["layer"].pop("tensors")
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(ArtifactError, match="the saved stitching layer is damaged"):
        load(copy)


# running


@every
def test_a_padded_batch_is_what_its_samples_are_alone(folder: Path) -> None:
    model = load(folder)
    raws: list[Any] = SOUNDS if "listener" in str(folder) else TEXTS
    together = logits(model, inputs_of(folder, raws))
    for i, raw in enumerate(raws):
        alone = logits(model, inputs_of(folder, [raw]))
        torch.testing.assert_close(together[i], alone[0], rtol=0, atol=1e-6)


@every
def test_labels_give_the_targets_loss(folder: Path) -> None:
    model, inputs = load(folder), inputs_of(folder)
    labels = torch.tensor([0, 1, 1])
    found = model(**inputs, labels=labels)
    torch.testing.assert_close(found.loss, torch.nn.functional.cross_entropy(found.logits, labels))
    plain = model(**inputs, return_dict=False)
    assert isinstance(plain, tuple)
    assert torch.equal(plain[0], found.logits)


def test_silence_has_an_answer(listener: Path) -> None:
    generator = np.random.default_rng(0)
    quiet = [(1e-3 * generator.standard_normal(n)).astype(np.float32) for n in (1600, 4000)]
    model = load(listener)
    model.prefix.lm_head.weight.data.zero_()
    model.prefix.lm_head.bias.data = torch.eye(len(model.prefix.lm_head.bias))[0]  # blanks only
    assert logits(model, inputs_of(listener, quiet)).isfinite().all()
    assert logits(model, inputs_of(listener, quiet[:1])).shape == (1, 2)


def test_inputs_that_the_rule_needs(reader: Path) -> None:
    inputs = inputs_of(reader)
    inputs.pop("target_spans")
    with pytest.raises(ActivationError, match="spans needs `target_spans` from the processor saved with the model"):
        load(reader)(**inputs)


def test_gradients_reach_the_input(mapper: Path) -> None:
    model, inputs = load(mapper), inputs_of(mapper)
    embedded = []

    def keep(module: Any, args: Any, output: Tensor) -> Tensor:
        embedded.append(output.detach().requires_grad_())
        return embedded[0]

    model.prefix.get_input_embeddings().register_forward_hook(keep)
    model(**inputs).logits.sum().backward()
    assert embedded[0].grad is not None
    assert embedded[0].grad.isfinite().all()
    assert embedded[0].grad.any()


# training and pipelines


def test_nothing_trains_by_default_and_parts_by_name(reader: Path) -> None:
    model = load(reader)
    layer = {name for name, _ in model.named_parameters() if name.startswith(("layer.", "rule."))}
    chosen = {
        part: {n for n, p in model.trainable(part).named_parameters() if p.requires_grad} for part in ("none", "layer")
    }
    assert chosen == {"none": set(), "layer": layer}
    assert model.trainable("all") is model
    assert all(p.requires_grad for p in model.parameters())
    with pytest.raises(ArtifactError, match=r"trainable\('map'\): expected one of none, layer, all"):
        model.trainable("map")


@every
def test_a_loaded_model_is_frozen(folder: Path) -> None:
    assert not any(parameter.requires_grad for parameter in load(folder).parameters())


@pytest.mark.parametrize("folder", ["reader", "listener"], indirect=True)
def test_a_trainer_trains_the_map(folder: Path, tmp_path: Path) -> None:
    model, inputs = load(folder).trainable("layer"), inputs_of(folder)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rows = [{name: value[i] for name, value in inputs.items()} | {"labels": i % 2} for i in range(3)] * 4
    arguments = tf.TrainingArguments(
        str(tmp_path), max_steps=12, learning_rate=0.05, per_device_train_batch_size=6, report_to=[], use_cpu=True,
        save_strategy="no", logging_steps=1, disable_tqdm=True, seed=0, lr_scheduler_type="constant",
    )  # fmt: skip
    trainer = tf.Trainer(model, arguments, train_dataset=rows)
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    assert len(losses) == 12
    assert losses[-1] < losses[0]
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith(("layer.", "rule.")) for name in changed)
    trainer.save_model(str(tmp_path / "trained"))
    again = load(tmp_path / "trained").state_dict()
    assert all(torch.equal(again[name], value) for name, value in model.state_dict().items())


def test_the_audio_pipeline_answers(listener: Path) -> None:
    pipe = tf.pipeline("audio-classification", model=str(listener), device="cpu")
    [first, second] = pipe([{"raw": SOUNDS[0], "sampling_rate": RATE}, {"raw": SOUNDS[1], "sampling_rate": RATE}])
    assert {answer["label"] for answer in first} == {"negative", "positive"}
    wanted = logits(load(listener), inputs_of(listener, SOUNDS[:1])).softmax(-1)[0]
    found = {answer["label"]: answer["score"] for answer in first}
    assert found["positive"] == pytest.approx(float(wanted[1]), abs=1e-5)
    assert second


def test_the_text_pipeline_answers(mapper: Path) -> None:
    pipe = tf.pipeline("text-classification", model=str(mapper), device="cpu")
    found = pipe(TEXTS, top_k=None)
    assert len(found) == 3
    wanted = logits(load(mapper), inputs_of(mapper, TEXTS[:1])).softmax(-1)[0]
    assert {a["label"]: a["score"] for a in found[0]}["negative"] == pytest.approx(float(wanted[0]), abs=1e-5)
