"""Raw inputs in, plain answers out: the same alone and in batches, from folders and from memory, bad ones by name."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import transformers as tf
from datasets import Dataset
from pico_encoders import by_hand, sentence_transformer
from pico_recipes import reading
from PIL import Image
from stitches import RATE, words
from tiny_models import tiny
from torch import nn

import hf_stitch
from hf_stitch import StitchedModel, fit
from hf_stitch.errors import ArtifactError, DataError, RecipeError
from hf_stitch.models.predictor import Predictor
from hf_stitch.zoo.networks.tanh import TanhNetworkConfig, TanhNetworkModel

hf_stitch.register()
RNG = np.random.default_rng(0)
SOUNDS = [RNG.normal(0, 0.1, n).astype(np.float32) for n in (700, 420, 1500)]
PICTURES = [Image.fromarray(RNG.integers(0, 255, (h, w, 3), np.uint8)) for h, w in ((20, 16), (9, 30), (16, 16))]
INPUTS: dict[str, list[Any]] = {
    "text": ["w4 w5 w6", "w9", "w7 w8 " * 10],
    "audio": SOUNDS,
    "image": PICTURES,
    "vector": [[0.1, 0.2, -0.3, 0.4], [1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 1.0]],
    "writer": SOUNDS,
}
EARS = tf.Wav2Vec2FeatureExtractor(return_attention_mask=True, sampling_rate=RATE)
EYES = tf.ViTImageProcessor(size={"height": 16, "width": 16})


def composed(kind: str) -> StitchedModel:
    source, hook, processor, width = {
        "text": lambda: (tiny("roberta"), "roberta.encoder.layer.1", words(), 32),
        "image": lambda: (tiny("vit"), "vit.layers.1", EYES, 32),
        "vector": lambda: (TanhNetworkModel(TanhNetworkConfig(layer_sizes=[4, 8, 6, 3])), "layers.0", None, 8),
    }.get(kind, lambda: (tiny("wav2vec2_stable"), "wav2vec2.encoder.layers.1", EARS, 32))()
    target, there = tiny("roberta", id2label={0: "calm", 1: "cross"}), "roberta.encoder.layer.1"
    if kind == "writer":
        target, there = tiny("t5"), "encoder.block.1"
        target.generation_config.update(min_new_tokens=3, max_new_tokens=5, suppress_tokens=[0, 1, 2, 3])
    torch.manual_seed(3)
    processors = {"source_processor": processor, "target_processor": words()}
    return StitchedModel.compose(source, hook, target, there, nn.Linear(width, 32), **processors)


@pytest.fixture(scope="module")
def models() -> dict[str, StitchedModel]:
    """Put together in memory."""
    return {kind: composed(kind) for kind in INPUTS}


@pytest.fixture(scope="module")
def folders(models: dict[str, StitchedModel], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("models")
    for kind, model in models.items():
        model.save_pretrained(base / kind)
    return {kind: base / kind for kind in models}


def near(found: Any, expected: Any) -> bool:
    """Answers alike up to rounding."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(near(found[key], expected[key]) for key in expected)
    return found == expected if isinstance(expected, str) else found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("kind", INPUTS)
def test_answers_alone_in_a_batch_from_memory_and_from_a_folder(
    kind: str, models: dict[str, StitchedModel], folders: dict[str, Path], tmp_path: Path
) -> None:
    model, inputs = models[kind], INPUTS[kind]
    found = model.predict(inputs)
    assert [set(one) for one in found] == [{"text"} if kind == "writer" else {"label", "score", "scores"}] * 3
    assert all(near(model.predict(one), answer) for one, answer in zip(inputs, found))
    assert all(near(*pair) for pair in zip(model.predict(inputs, batch_size=2), found))
    assert all(near(*pair) for pair in zip(model.predict(one for one in inputs), found))
    assert all(near(*pair) for pair in zip(model.predict(tuple(inputs), show_progress_bar=True), found))
    loaded = StitchedModel.from_pretrained(folders[kind])
    assert all(near(*pair) for pair in zip(loaded.predict(inputs), found))
    files = [as_given(tmp_path / str(i), one) for i, one in enumerate(inputs)]
    for one, answer in zip(Predictor(folders[kind], device="cpu")(files), found, strict=True):
        assert near({key: one[key] for key in answer}, answer)


def as_given(path: Path, given: Any) -> Any:
    """As the command line takes it."""
    if isinstance(given, np.ndarray):
        soundfile.write(path.with_suffix(".wav"), given, RATE, subtype="FLOAT")
        return path.with_suffix(".wav")
    if isinstance(given, Image.Image):
        given.save(path.with_suffix(".png"))
        return path.with_suffix(".png")
    return given if isinstance(given, str) else " ".join(map(str, given))


def test_an_input_in_any_of_its_forms(models: dict[str, StitchedModel], tmp_path: Path) -> None:
    sound, picture, numbers = SOUNDS[0], PICTURES[0], INPUTS["vector"][0]
    file, bytes_ = as_given(tmp_path / "a", sound), io.BytesIO()
    picture.save(bytes_, format="PNG")
    forms: dict[str, list[Any]] = {
        "audio": [
            *(sound, torch.from_numpy(sound), sound.tolist(), file, str(file), file.read_bytes(), sound.astype("f8")),
            {"array": sound, "sampling_rate": RATE}, {"raw": sound, "sampling_rate": RATE}, {"path": str(file)},
            {"bytes": file.read_bytes(), "path": None}, np.stack([sound, sound]),
        ],
        "image": [
            *(picture, np.asarray(picture), torch.from_numpy(np.array(picture)), as_given(tmp_path / "b", picture)),
            str(tmp_path / "b.png"), bytes_.getvalue(), {"bytes": bytes_.getvalue(), "path": None},
        ],
        "vector": [numbers, tuple(numbers), np.array(numbers), torch.tensor(numbers), np.float32(numbers)],
    }  # fmt: skip
    for kind, all_forms in forms.items():
        expected = models[kind].predict(INPUTS[kind])[0]
        for form in all_forms:
            assert near(models[kind].predict(form), expected), (kind, type(form))
        assert all(near(one, expected) for one in models[kind].predict(all_forms))
    rows = Dataset.from_dict({"x": INPUTS["vector"]})
    assert len(models["vector"].predict(rows["x"])) == len(models["vector"].predict(np.array(INPUTS["vector"]))) == 3
    assert len(models["image"].predict(np.stack([np.asarray(picture)] * 2))) == 2
    assert models["text"].predict([]) == []
    assert len(models["text"].predict(np.array(["w4", "w5"]), batch_size=np.int64(2))) == 2  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "bad", "said"),
    [
        ("text", ["w4", " "], r"inputs\[1\] \(' '\): expected a text that is not blank"),
        ("text", ["w4", 3], r"inputs\[1\]: expected a text .* got int"),
        ("text", ["w4", None], r"inputs\[1\]: expected a text .* got NoneType"),
        ("audio", [SOUNDS[0], np.zeros(900, np.float32)], r"inputs\[1\]: silent"),
        ("audio", [SOUNDS[0], "gone.wav"], r"inputs\[1\] \('gone.wav'\): .*no such file"),
        ("audio", [SOUNDS[0], SOUNDS[0][:3]], r"inputs\[1\]: too short"),
        ("audio", [SOUNDS[0], {"array": SOUNDS[0]}], r"inputs\[1\]: expected sampling_rate"),
        ("image", [PICTURES[0], b"x"], r"inputs\[1\]: no picture that Pillow can read"),
        ("image", [PICTURES[0], np.ones((4, 4, 3))], r"inputs\[1\]: an array of float64"),
        ("vector", [[1, 2, 3, 4], [1, 2]], r"inputs\[1\]: expected vectors of 4 numbers.*got 2"),
        ("vector", [[1, 2, 3, 4], [1, 2, 3, np.nan]], r"inputs\[1\]: expected finite numbers"),
        ("vector", [[1, 2, 3, 4], "abc"], r"inputs\[1\] \('abc'\): expected numbers; got str"),
    ],
)
def test_one_bad_input_is_named_and_costs_no_other(
    kind: str, bad: list[Any], said: str, models: dict[str, StitchedModel]
) -> None:
    with pytest.raises(DataError, match=said):
        models[kind].predict(bad)
    told: list[DataError] = []
    found = models[kind].predict([*bad, bad[0]], on_error=told.append)
    assert found[1] is None
    assert near(found[0], found[2])
    assert len(told) == 1


def test_what_cannot_be_asked_is_told(models: dict[str, StitchedModel]) -> None:
    model = models["text"]
    for size in (0, -1, 2.5, True):
        with pytest.raises(RecipeError, match="batch_size: expected a whole number from 1 on"):
            model.predict(["w4"], batch_size=size)  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="abstain: expected a share"):
        model.predict(["w4"], abstain=2)
    with pytest.raises(ArtifactError, match="no trust gauge to abstain by"):
        model.predict(["w4"], abstain=0.1)
    with pytest.raises(DataError, match="expected text inputs in a list; got NoneType"):
        model.predict(None)
    for kind, answer in {"text": "labels", "writer": "texts"}.items():
        with pytest.raises(ArtifactError, match=f"encode gives vectors, and the target .* answers with {answer}"):
            models[kind].encode(["w4"])
    bare = StitchedModel.compose(tiny("roberta"), "roberta.encoder.layer.1", tiny("roberta"), "roberta.encoder.layer.1")
    with pytest.raises(ArtifactError, match="nothing is known that prepares the text of this stitched model"):
        bare.predict(["w4"])
    with pytest.raises(ArtifactError, match="source_processor"):
        _ = bare.processor


def test_a_pipeline_takes_the_model_itself(models: dict[str, StitchedModel]) -> None:
    for kind in ("text", "audio", "image"):
        pipe = tf.pipeline("stitched-classification", model=models[kind], device="cpu")
        assert near(pipe(INPUTS[kind][0]), models[kind].predict(INPUTS[kind][0]))


def test_the_mode_of_training_stays(models: dict[str, StitchedModel]) -> None:
    model = models["text"].trainable("all").train()
    try:
        assert model.predict("w4 w5") == model.predict("w4 w5"), "no dropout"
        assert model.training
        assert model.suffix.training
    finally:
        model.trainable("none").eval()


@pytest.mark.parametrize("kind", INPUTS)
def test_the_processor_is_that_of_the_saved_model(
    kind: str, models: dict[str, StitchedModel], folders: dict[str, Path]
) -> None:
    found = [models[kind].processor, StitchedModel.from_pretrained(folders[kind]).processor]
    if kind == "vector":
        assert found == [None, None]
        return
    auto = tf.AutoFeatureExtractor if kind == "writer" else tf.AutoProcessor
    expected = auto.from_pretrained(folders[kind])
    given: dict[str, Any] = {"text": ["w4 w5"], "images": PICTURES[:1]}
    call = {"text": {"text": given["text"]}, "image": {"images": given["images"]}}.get(
        kind, {"raw_speech": SOUNDS[0], "sampling_rate": RATE}
    )
    for one in found:
        assert type(one) is type(expected)
        made, wanted = one(**call, return_tensors="pt"), expected(**call, return_tensors="pt")
        assert all(torch.equal(made[key], wanted[key]) for key in wanted)
    assert models[kind].processor is models[kind].processor


TEXTS = ["the film was very good", "boring", "i never like this play " * 4, "a bad film"]


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sentence_transformer(tmp_path_factory.mktemp("sentences"), parts=())


@pytest.fixture(scope="module")
def itself(sentences: Path) -> StitchedModel:
    """A sentence encoder on itself by the identity, whose vectors are those of the encoder."""
    return StitchedModel.compose(sentences, "encoder.layer.0", sentences, "encoder.layer.0")


def test_vectors_are_those_of_sentence_transformers(itself: StitchedModel, sentences: Path, tmp_path: Path) -> None:
    expected = by_hand(sentences, TEXTS)
    itself.save_pretrained(tmp_path)
    for model in (itself, StitchedModel.from_pretrained(tmp_path)):
        for size in (1, 3, 32):
            found = model.encode(TEXTS, batch_size=size)
            assert found.dtype == np.float32
            assert np.abs(found - expected).max() <= 1e-6 * max(1, np.abs(expected).max())
        assert np.allclose(model.encode(TEXTS[0]), expected[0], atol=1e-6)
        assert model.encode(TEXTS[0]).shape == expected[0].shape
    lengths = np.linalg.norm(itself.encode(TEXTS, normalize_embeddings=True), axis=1)
    assert np.allclose(lengths, 1, atol=1e-6)
    assert not np.allclose(np.linalg.norm(expected, axis=1), 1, atol=1e-2)


def test_vectors_in_all_forms(itself: StitchedModel) -> None:
    expected = itself.encode(TEXTS)
    one = itself.encode(TEXTS, convert_to_tensor=True, show_progress_bar=True)
    assert torch.equal(one, torch.from_numpy(expected))
    several = itself.encode(TEXTS, convert_to_numpy=False)
    assert torch.equal(torch.stack(several), one)
    assert itself.encode([]).shape == (0, expected.shape[1])
    assert itself.encode([], convert_to_numpy=False) == []
    assert itself.predict(TEXTS[1])["values"] == pytest.approx(expected[1].tolist(), abs=1e-6)
    with pytest.raises(DataError, match=r"inputs\[1\] \(''\): expected a text"):
        itself.encode(["a film", ""])


def test_after_a_fit_in_memory_by_spans_with_trust(
    pico_roberta: Path, pico_xlnet: Path, written: Path, tmp_path: Path
) -> None:
    recipe = reading(pico_roberta, pico_xlnet, written, trust="distance", stitch={"method": "affine"})
    model, _ = fit(recipe, device="cpu", progress=False)
    found = model.predict(TEXTS)
    assert set(found[0]) == {"label", "score", "scores", "trust", "trust_parts"}
    made = model.processor(TEXTS[:1], return_tensors="pt")
    assert model(**made).logits.softmax(-1).max().item() == pytest.approx(found[0]["score"], abs=1e-6)
    model.save_pretrained(tmp_path)
    saved = list(Predictor(tmp_path, device="cpu")(TEXTS))
    for one, answer in zip(saved, found, strict=True):
        assert near({key: one[key] for key in answer}, answer)
    [refused] = model.predict(TEXTS[:1], abstain=1.0)
    assert refused["label"] is None
    assert "trust" in refused["abstained"]
