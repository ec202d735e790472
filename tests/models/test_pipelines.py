"""transformers' pipelines over stitched models: the built-in tasks that fit, and our own where none does."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import soundfile
import torch
import transformers as tf
from composites import whole
from stitches import RATE, ears, end, letters, preparer, saved, words
from tiny_models import tiny
from transformers.pipelines import PIPELINE_REGISTRY
from transformers.pipelines.pt_utils import KeyDataset

import hf_stitch
from hf_stitch.errors import ArtifactError, DataError, RecipeError
from hf_stitch.loading.processors import Preparer
from hf_stitch.models.modeling_stitched import StitchedForGeneration, StitchedModel
from hf_stitch.models.pipelines.audio_windows import Window, quiet_windows, strided_windows
from hf_stitch.models.tasks import CUSTOM, check_task, samples_per_position, tasks_of
from hf_stitch.runtime.import_hooks import when_loaded
from hf_stitch.zoo.networks.tanh import TanhNetworkConfig, TanhNetworkModel

NOISE = np.random.default_rng(0).normal(0, 0.1, 420).astype(np.float32)
SOUNDS = [NOISE, np.sin(np.arange(300, dtype=np.float32) / 4), np.sign(np.sin(np.arange(230, dtype=np.float32) / 25))]
TEXTS = ["w4 w5 w6 w7 w8 w9", "w10 w11", "w12 w13 w14"]
SPECIAL = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
hf_stitch.register()


def author(kind: str) -> Any:
    """A target that writes words and never ends at once."""
    target = whole(kind)
    target.generation_config.update(forced_eos_token_id=None, suppress_tokens=[0, 1, 2, 3])
    for name, parameter in target.named_parameters():
        if "encoder_attn." in name and parameter.ndim > 1:
            parameter.data *= 10  # it listens
    return target


def a_pipe(task: str, folder: Any, **more: Any) -> Any:
    return tf.pipeline(task, model=str(folder) if isinstance(folder, Path) else folder, device="cpu", **more)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stitches")


@pytest.fixture(scope="module")
def writer(base: Path) -> Path:
    """Sound onto the encoder of a BART with a language model's head."""
    target = author("bart")
    return saved(base / "writer", ears(), end(target, "model.encoder.layers.1", preparer(target, words())), scale=10)


@pytest.fixture(scope="module")
def hearer(base: Path) -> Path:
    """Sound onto a classifier of texts."""
    target = tiny("roberta", id2label={0: "calm", 1: "cross"})
    return saved(base / "hearer", ears(), end(target, "roberta.encoder.layer.1", preparer(target)), scale=1)


@pytest.fixture(scope="module")
def speller(base: Path) -> Path:
    """Sound onto another recogniser."""
    target = tiny("hubert")
    torch.manual_seed(0)
    target.lm_head.weight.data.normal_()
    target.lm_head.bias.data.zero_()
    there = end(target, "hubert.encoder.layers.0", preparer(target, letters(base)))
    return saved(base / "speller", ears(), there, {"ratio": 1.0}, scale=4)


@pytest.fixture(scope="module")
def teller(base: Path) -> Path:
    """Text onto the token embedding of a GPT-2 with the same tokenizer."""
    source, target = tiny("roberta"), author("gpt2")
    target.config.pad_token_id = 1
    here = end(source, "roberta.encoder.layer.1", preparer(source))
    return saved(base / "teller", here, end(target, "transformer.wte", preparer(target)), scale=4)


def batch(folder: Path, raws: list[Any]) -> dict[str, torch.Tensor]:
    return Preparer.load(folder, tf.AutoConfig.from_pretrained(folder)).batch(raws)


def loaded(folder: Path) -> Any:
    return StitchedModel.from_pretrained(folder).eval()


# importing


def test_importing_is_enough(hearer: Path) -> None:
    code = (
        "import hf_stitch, numpy\nfrom transformers import pipeline\n"
        f"pipe = pipeline('stitched-classification', model={str(hearer)!r}, device='cpu')\n"
        "print(type(pipe.model).__name__, sorted(pipe(numpy.sin(numpy.arange(400.0)))))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.strip() == "StitchedModel ['label', 'score', 'scores']", run.stderr
    assert "not supported" not in run.stderr
    assert set(CUSTOM.values()) <= set(PIPELINE_REGISTRY.get_supported_tasks())
    told = []
    when_loaded("transformers.pipelines", lambda: told.append("at once"))
    assert told == ["at once"]


# built-in tasks


def test_speech_recognition_by_an_encoder_decoder(writer: Path, base: Path) -> None:
    model = loaded(writer)
    assert type(model) is StitchedForGeneration
    assert model.can_generate()
    assert model.generation_config is model.suffix.generation_config
    settings = {"num_beams": 1, "max_new_tokens": 6}
    speller = tf.AutoTokenizer.from_pretrained(writer)
    wanted = [
        speller.decode(model.generate(**batch(writer, [one]), **settings)[0], skip_special_tokens=True)
        for one in SOUNDS
    ]
    assert len(set(wanted)) > 1
    pipe = a_pipe("automatic-speech-recognition", writer)
    assert pipe.type == "seq2seq"
    sounds = [SOUNDS[0], {"raw": SOUNDS[1], "sampling_rate": RATE}, {"array": SOUNDS[2], "sampling_rate": RATE}]
    assert [one["text"] for one in pipe(list(map(dict_or_self, sounds)), **settings)] == wanted
    together = pipe(list(map(dict_or_self, sounds)), batch_size=3, **settings)
    assert [one["text"] for one in together] == wanted
    pipe.model.save_pretrained(base / "again")
    assert torch.equal(
        loaded(base / "again").generate(**batch(writer, SOUNDS)), model.generate(**batch(writer, SOUNDS))
    )


def dict_or_self(one: Any) -> Any:
    return dict(one) if isinstance(one, dict) else one  # the pipeline empties the dicts that it is given


def test_a_language_model_writes_what_it_hears(base: Path) -> None:
    target = author("gpt2")
    folder = saved(base / "prompted", ears(), end(target, "transformer.wte", preparer(target)), scale=4)
    settings = {"num_beams": 1, "max_new_tokens": 5}
    tokens = loaded(folder).generate(**batch(folder, SOUNDS[:1]), **settings)[0]
    text = words().decode(tokens, skip_special_tokens=True)
    assert text
    assert a_pipe("automatic-speech-recognition", folder)(SOUNDS[0], **settings) == {"text": text}
    assert a_pipe("stitched-text", folder)(SOUNDS[0], **settings) == {"tokens": tokens.tolist(), "text": text}


def test_text_generation_continues_the_prompt(teller: Path) -> None:
    settings = {"max_new_tokens": 5, "do_sample": False, "num_beams": 1}
    model = loaded(teller)
    assert tasks_of(model.config) == ["text-generation", "stitched-text"]
    alone = [model.generate(**batch(teller, [text]), **settings)[0] for text in TEXTS]
    for text, tokens in zip(TEXTS, alone):
        assert words().decode(tokens[: len(text.split())]) == text  # as in transformers, the prompt comes first
    several = model.generate(**batch(teller, TEXTS[:1]), max_new_tokens=5, num_beams=3, num_return_sequences=2,
                             return_dict_in_generate=True)  # fmt: skip
    assert several.sequences.shape[0] == 2
    assert words().decode(several.sequences[1, :6]) == TEXTS[0]
    pipe = a_pipe("text-generation", teller)
    new = [words().decode(tokens[len(text.split()) :], skip_special_tokens=True) for text, tokens in zip(TEXTS, alone)]
    wanted = [text + more for text, more in zip(TEXTS, new)]
    assert [one[0]["generated_text"] for one in pipe(TEXTS, **settings)] == wanted
    together = pipe(TEXTS, batch_size=3, **settings)  # padded on the left by the pipeline
    assert [one[0]["generated_text"] for one in together] == wanted
    own = a_pipe("stitched-text", teller)(TEXTS, batch_size=3, **settings)
    assert [answer["text"] for answer in own] == new
    assert all(new)


def test_recognition_by_classes_alone_and_in_windows(speller: Path) -> None:
    pipe, own = a_pipe("automatic-speech-recognition", speller), a_pipe("stitched-text", speller)
    assert pipe.type == "ctc"
    model = loaded(speller)
    with torch.no_grad():
        classes = model(**batch(speller, SOUNDS[:1])).logits.argmax(-1)[0]
    text = pipe.tokenizer.decode(classes)
    assert pipe(SOUNDS[0]) == {"text": text}
    assert own(SOUNDS[0]) == {"tokens": classes.tolist(), "text": text}
    assert own(SOUNDS, batch_size=3) == [own(one) for one in SOUNDS]
    assert samples_per_position(model.config) == 20
    long = np.concatenate([SOUNDS[0]] * 8)
    for spoken in (pipe, own):
        whole_text = spoken(long)["text"]
        in_windows = spoken(long, chunk_length_s=1600 / RATE, stride_length_s=400 / RATE)["text"]
        pieces = spoken(long, chunk_length_s=1600 / RATE, stride_length_s=0)["text"]
        assert len(whole_text) > 20
        assert likeness(in_windows, whole_text) > 0.9
        # At a seam chance decides here, with random weights: one place in fifty.
        assert likeness(in_windows, whole_text) >= likeness(pieces, whole_text) - 0.02
    found = own(long, chunk_length_s=1600 / RATE, stride_length_s=400 / RATE, batch_size=2)
    assert len(found["windows"]) == 4
    assert [round(at * RATE) for at in found["windows"][1]["timestamp"]] == [1200, 2000]


def likeness(one: str, two: str) -> float:
    from rapidfuzz.distance import Levenshtein

    return float(Levenshtein.normalized_similarity(one, two))


def test_windows_of_classes_need_a_place_for_every_position(base: Path) -> None:
    target = tiny("hubert")
    there = end(target, "hubert.encoder.layers.0", preparer(target, letters(base)))
    folder = saved(base / "constant", ears(), there, {"target_length": "constant", "constant": 5})
    for task in ("automatic-speech-recognition", "stitched-text"):
        pipe = a_pipe(task, folder)
        assert "text" in pipe(SOUNDS[0])
        with pytest.raises(ArtifactError, match="need a target position for every stretch of sound"):
            pipe(SOUNDS[0], chunk_length_s=0.02)


# our own tasks


def test_sound_in_all_its_forms(hearer: Path, tmp_path: Path) -> None:
    pipe = a_pipe("stitched-classification", hearer)
    model, sound = loaded(hearer), SOUNDS[0]
    with torch.no_grad():
        wanted = model(**batch(hearer, [sound])).logits.softmax(-1)[0].tolist()
    first = pipe(sound)
    assert first["scores"] == pytest.approx({"calm": wanted[0], "cross": wanted[1]}, abs=1e-6)
    assert first["label"] == max(first["scores"], key=first["scores"].get)
    path = tmp_path / "sound.wav"
    soundfile.write(path, sound, RATE, subtype="FLOAT")
    forms: list[Any] = [
        torch.from_numpy(sound), {"raw": sound, "sampling_rate": RATE}, {"array": sound, "sampling_rate": RATE},
        str(path), path.read_bytes(), {"path": str(path), "bytes": None}, {"bytes": path.read_bytes(), "path": None},
    ]  # fmt: skip
    for size in (1, 4):
        for answer in pipe(forms, batch_size=size):
            assert answer["scores"] == pytest.approx(first["scores"], abs=1e-5)
    slow = {"array": np.repeat(sound, 2), "sampling_rate": 2 * RATE}
    assert pipe(slow)["scores"].keys() == first["scores"].keys()
    table = datasets.Dataset.from_dict({"audio": [str(path)] * 3})
    for lazy in (KeyDataset(table, "audio"), (one for one in [sound] * 3), table["audio"]):
        answers = pipe(lazy, batch_size=2)
        assert iter(answers) is answers
        assert [one["label"] for one in answers] == [first["label"]] * 3
    builtin = a_pipe("audio-classification", hearer)
    assert {one["label"]: one["score"] for one in builtin(sound)} == pytest.approx(first["scores"], abs=1e-5)


def test_padding_is_told_from_sound_in_the_built_in_task(hearer: Path) -> None:
    pipe = a_pipe("audio-classification", hearer)
    for one, other in zip(pipe(SOUNDS, batch_size=3), [pipe(sound) for sound in SOUNDS]):
        scores = [{row["label"]: row["score"] for row in rows} for rows in (one, other)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-5)


def test_long_sound_is_weighed_by_its_windows(hearer: Path) -> None:
    pipe = a_pipe("stitched-classification", hearer)
    long = np.concatenate([SOUNDS[0], np.zeros(40, np.float32), SOUNDS[1], np.zeros(40, np.float32), SOUNDS[2]])
    settings = {"chunk_length_s": 600 / RATE, "stride_length_s": 100 / RATE}
    found = pipe(long, **settings)
    stamps = [tuple(round(at * RATE) for at in window["timestamp"]) for window in found["windows"]]
    assert stamps[0][0] == 0
    assert stamps[-1][1] == len(long)
    assert all(before[1] == after[0] for before, after in pairwise(stamps))
    alone = [pipe(long[first:last]) for first, last in stamps]
    assert [window["label"] for window in found["windows"]] == [one["label"] for one in alone]
    weights = [last - first for first, last in stamps]
    calm = sum(w * one["scores"]["calm"] for w, one in zip(weights, alone)) / sum(weights)
    assert found["scores"]["calm"] == pytest.approx(calm, abs=1e-5)
    mixed = pipe([long, SOUNDS[0], long], batch_size=2, **settings)
    assert [len(one["windows"]) for one in mixed] == [len(stamps), 1, len(stamps)]
    assert mixed[0]["scores"] == pytest.approx(found["scores"], abs=1e-5)
    assert pipe(SOUNDS[0], **settings)["scores"] == pytest.approx(pipe(SOUNDS[0])["scores"], abs=1e-5)


def test_generated_text_in_windows(writer: Path) -> None:
    pipe = a_pipe("stitched-text", writer)
    settings = {"num_beams": 1, "max_new_tokens": 5}
    long = np.concatenate([SOUNDS[0], SOUNDS[1]])
    found = pipe(long, chunk_length_s=400 / RATE, stride_length_s=50 / RATE, **settings)
    stamps = [[round(at * RATE) for at in window["timestamp"]] for window in found["windows"]]
    alone = [pipe(long[first:last], **settings) for first, last in stamps]
    assert len(alone) > 1
    assert found["text"] == " ".join(one["text"] for one in alone if one["text"])
    assert found["tokens"] == [token for one in alone for token in one["tokens"]]


def test_a_picture_is_told(base: Path) -> None:
    source, target = tiny("vit"), author("bart")
    here = end(source, "vit.layers.1", preparer(source))
    folder = saved(base / "picture", here, end(target, "model.encoder.layers.1", preparer(target, words())), scale=10)
    assert tasks_of(loaded(folder).config) == ["stitched-text"]
    pictures = [np.random.default_rng(i).integers(0, 256, (20, 20, 3), dtype=np.uint8) for i in range(2)]
    pipe = a_pipe("stitched-text", folder)
    found = pipe(pictures, batch_size=2, num_beams=1)
    assert [pipe(one, num_beams=1)["text"] for one in pictures] == [one["text"] for one in found]
    assert found[0]["text"]
    with pytest.raises(DataError, match="chunk_length_s is for sound; this model takes image"):
        pipe(pictures[0], chunk_length_s=1)


def test_text_becomes_a_vector(base: Path) -> None:
    source = tiny("roberta")
    here = end(source, "roberta.encoder.layer.1", preparer(source))
    for kind, hook in (("t5_encoder", "encoder.block.1"), ("clip_text", "text_model.encoder.layers.1")):
        target = tiny(kind)
        rule = {"ratio": 1.0}
        folder = saved(base / kind, here, end(target, hook), rule)
        model, pipe = loaded(folder), a_pipe("stitched-vector", folder)
        found = [one["values"] for one in pipe(TEXTS, batch_size=3)]
        for text, values in zip(TEXTS, found):
            with torch.no_grad():
                output = model(**batch(folder, [text]))
            wanted = output.text_embeds[0] if kind == "clip_text" else output.last_hidden_state[0].mean(0)
            assert values == pytest.approx(wanted.tolist(), abs=1e-4)


def test_vectors_in_vectors_out(base: Path) -> None:
    model = TanhNetworkModel(TanhNetworkConfig(layer_sizes=[4, 8, 6, 3]))
    folder = saved(base / "tanh", end(model, "layers.0", preparer(model)), end(model, "layers.0"), {"ratio": 1.0})
    given = np.random.default_rng(0).normal(size=(3, 4))
    found = a_pipe("stitched-vector", folder)(list(given), batch_size=2)
    with torch.no_grad():
        wanted = loaded(folder)(inputs=torch.tensor(given).float()).logits
    assert np.array([one["values"] for one in found]) == pytest.approx(wanted.numpy(), abs=1e-6)


def test_another_vocabulary_and_no_vocabulary(base: Path) -> None:
    source, target = tiny("roberta"), author("gpt2")
    here = end(source, "roberta.encoder.layer.1", preparer(source, words("v")))
    folder = saved(base / "foreign", here, end(target, "transformer.wte", preparer(target, words())), scale=4)
    with pytest.raises(
        ArtifactError, match=r"source that reads text in the target's own tokens.*tasks are stitched-text"
    ):
        a_pipe("text-generation", folder)
    found = a_pipe("stitched-text", folder)("v4 v5", max_new_tokens=4, num_beams=1)
    assert found["text"] == words().decode(found["tokens"], skip_special_tokens=True)
    assert "v" not in found["text"]
    unlettered = Preparer("text", "input_ids")
    mute = saved(base / "mute", ears(), end(target, "transformer.wte", unlettered), scale=4)
    assert set(a_pipe("stitched-text", mute)(SOUNDS[0], max_new_tokens=4)) == {"tokens"}


def test_tasks_that_do_not_fit(hearer: Path, writer: Path) -> None:
    for folder, task in ((hearer, "automatic-speech-recognition"), (writer, "audio-classification")):
        with pytest.raises(
            ArtifactError, match=r"does not answer what AutoModelFor\w+ is for; load it by StitchedModel"
        ):
            a_pipe(task, folder)
    for folder, task in ((hearer, "stitched-text"), (writer, "stitched-vector")):
        with pytest.raises(ArtifactError, match=f"does not answer the task '{task}'; it answers"):
            a_pipe(task, folder)
    with pytest.raises(ArtifactError, match="does not answer what AutoModelForClassification is for"):
        tf.AutoModelForAudioClassification.from_config(tf.AutoConfig.from_pretrained(writer))
    config = loaded(hearer).config
    check_task(config, "feature-extraction")  # of others nothing is known
    config.sequence["length"] = "spans"
    assert tasks_of(config) == ["stitched-classification"]
    pipe = a_pipe("stitched-text", writer)
    with pytest.raises(RecipeError, match="2 answers to 1 inputs"):
        pipe(SOUNDS[0], num_beams=2, num_return_sequences=2, max_new_tokens=3)
    with pytest.raises(DataError, match="expected seconds, the first over twice the other"):
        pipe(SOUNDS[0], chunk_length_s=1, stride_length_s=0.5)
    with pytest.raises(DataError, match=r"one frame of the model needs 0\.00"):
        pipe(SOUNDS[0], chunk_length_s=1e-4)
    with pytest.raises(DataError, match="no such file"):
        pipe("/nowhere.wav")
    unsaved = loaded(writer)
    unsaved.config._name_or_path = unsaved.name_or_path = ""
    with pytest.raises(RecipeError, match="no folder to take its processors from"):
        a_pipe("stitched-text", unsaved)


# windows


def test_quiet_windows_cover_a_sound_once_and_end_where_it_is_quiet() -> None:
    draw = np.random.default_rng(0)
    for length in (10, 999, 1000, 1001, 5000, 7777):
        sound = draw.normal(size=length).astype(np.float32)
        for chunk, stride in ((1.0, 0.0), (1.0, 0.2), (0.5, 0.1)):
            found = quiet_windows(sound, 1000, chunk, stride)
            assert [w.start for w in found] == [0, *(w.stop for w in found[:-1])]
            assert found[-1].stop == length
            assert sum(w.own for w in found) == length
            assert max(w.stop - w.start for w in found) <= chunk * 1000
            assert len(found) == 1 or length > chunk * 1000
    sound = np.ones(2000, np.float32)
    sound[1080:1140] = 0
    [first, _, *_] = quiet_windows(sound, 1000, 1.6, 0.2)
    assert 1080 <= first.stop <= 1140


def test_strided_windows_answer_for_every_sample_once() -> None:
    for length in (5, 100, 101, 140, 641, 1000):
        found = strided_windows(length, 100, 1.0, 0.2)
        own = [(w.start + w.left, w.stop - w.right) for w in found]
        assert [a for a, _ in own] == [0, *(b for _, b in own[:-1])]
        assert own[-1][1] == length
        assert all(w.stop - w.start <= 100 for w in found)
    assert strided_windows(50, 100, 1.0, 0.2) == [Window(0, 50)]
