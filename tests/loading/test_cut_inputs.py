"""What a processor leaves out of an input is told, whatever the modality; checked against the processor itself."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import transformers as tf
from PIL import Image
from stitches import end, preparer, saved, words
from tiny_models import tiny

import hf_stitch
from hf_stitch.activations.observations import Observations
from hf_stitch.errors import DataError
from hf_stitch.loading.processors import Preparer
from hf_stitch.loading.samples import load_samples
from hf_stitch.models.predictor import Predictor
from hf_stitch.recipe.data import Data, Splits
from hf_stitch.runtime.runtime import Runtime
from hf_stitch.runtime.timings import Timings

hf_stitch.register()
RATE = 16_000
NOISE = np.random.default_rng(0).normal(0, 0.1, 4 * RATE).astype(np.float32)

CUTS = {
    "whisper": (lambda: tf.WhisperFeatureExtractor(chunk_length=1), 16_000),
    "ast": (lambda: tf.ASTFeatureExtractor(max_length=64, num_mel_bins=16), 400 + 64 * 160 - 1),
    "univnet": (lambda: tf.UnivNetFeatureExtractor(max_length_s=1, sampling_rate=RATE), 16_000),
    "clap": (lambda: tf.ClapFeatureExtractor(max_length_s=1), 48_000),
}
WHOLE = {
    "wav2vec2": lambda: tf.Wav2Vec2FeatureExtractor(),
    "speech_to_text": lambda: tf.Speech2TextFeatureExtractor(),
    "seamless": lambda: tf.SeamlessM4TFeatureExtractor(),
    "speecht5": lambda: tf.SpeechT5FeatureExtractor(),
}


def hears(tool: Any) -> Preparer:
    return Preparer.of("audio", tf.Wav2Vec2Config(), "input_values", tool, torch.float32)


def seen(tool: Any, sound: np.ndarray) -> torch.Tensor:
    """Everything that a processor gives of a sound."""
    padding = "max_length" if isinstance(tool, tf.WhisperFeatureExtractor) else True
    found = tool([sound], sampling_rate=RATE, padding=padding, return_tensors="pt")
    return torch.cat([value.flatten().float() for key, value in found.items() if "mask" not in key])


@pytest.mark.parametrize(("make", "limit"), CUTS.values(), ids=CUTS.keys())
def test_sounds_are_told_from_the_sample_on_at_which_they_are_cut(make: Any, limit: int) -> None:
    tool = make()
    takes = hears(tool)
    assert takes.cut(NOISE[:limit]) is None
    rate = tool.sampling_rate
    said = f"{(limit + 1) / rate:.3g} s, the model reads {limit / rate:.3g} s, the rest is left out"
    assert takes.cut(NOISE[: limit + 1]) == said
    if isinstance(tool, tf.ClapFeatureExtractor | tf.UnivNetFeatureExtractor):  # which draw parts or noise at random
        return
    other = NOISE.copy()
    other[limit + 400 :] *= -0.5
    torch.testing.assert_close(seen(tool, other), seen(tool, NOISE), msg="the tail is left out")
    within = NOISE[:limit].copy()
    within[-600:] *= -0.5
    assert not torch.equal(seen(tool, within), seen(tool, NOISE[:limit]))


@pytest.mark.parametrize("make", WHOLE.values(), ids=WHOLE.keys())
def test_sounds_that_are_read_whole_are_not_told(make: Any) -> None:
    tool = make()
    assert hears(tool).cut(np.zeros(400 * RATE, np.float32)) is None
    other = NOISE.copy()
    other[-1600:] *= -0.5
    assert not torch.equal(seen(tool, other), seen(tool, NOISE))


PICTURES = {
    "wide": ((80, 40), "the middle 50 % of its width"),
    "tall": ((40, 160), "the middle 25 % of its height"),
    "square": ((64, 64), None),
}


@pytest.mark.parametrize(("size", "said"), PICTURES.values(), ids=PICTURES.keys())
@pytest.mark.parametrize("kind", [tf.CLIPImageProcessor, tf.ViTImageProcessor])
def test_pictures_whose_sides_are_cropped_are_told(kind: Any, size: tuple[int, int], said: str | None) -> None:
    crops = kind is tf.CLIPImageProcessor
    tool = (
        kind(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
        if crops
        else kind(size={"height": 16, "width": 16})
    )
    takes = Preparer.of("image", tf.ViTConfig(), "pixel_values", tool, torch.float32)
    told = f"the model reads {said}, the rest is left out" if said and crops else None
    assert takes.cut(Image.new("RGB", size)) == told


def test_texts_and_vectors() -> None:
    takes = Preparer.of("text", tiny("roberta").config, "input_ids", words(), torch.float32)
    assert takes.cut(" ".join(["w4"] * 99)) == f"99 tokens, the model reads {takes.max_length}, the rest is left out"
    assert takes.cut("w4") is None
    assert Preparer("vector", "inputs").cut(np.ones(9999)) is None


def whisper(seconds: int = 1) -> Any:
    """Whose encoder takes so many seconds and no less."""
    config = tf.WhisperConfig(
        vocab_size=60, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, num_mel_bins=16,
        max_source_positions=50 * seconds, max_target_positions=40, pad_token_id=1, bos_token_id=0, eos_token_id=2,
        decoder_start_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    return tf.WhisperForAudioClassification(config).eval()


def hearing() -> Any:
    model = whisper()
    tool = tf.WhisperFeatureExtractor(feature_size=16, chunk_length=1)
    takes = Preparer.of("audio", model.config, "input_features", tool, torch.float32)
    return end(model, "encoder.layers.1", takes)


def test_predict_and_pipelines_tell_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    target = tiny("roberta")
    there = end(target, "roberta.encoder.layer.1", preparer(target))
    folder = saved(tmp_path / "model", hearing(), there)
    for name, seconds in (("short", 0.5), ("long", 1.5)):
        soundfile.write(tmp_path / f"{name}.wav", NOISE[: int(seconds * RATE)], RATE)
    files = [tmp_path / "short.wav", tmp_path / "long.wav"]
    one = Predictor(folder, device="cpu")
    assert len(list(one(files))) == 2
    said = "1.5 s, the model reads 1 s, the rest is left out"
    assert one.notes == [f"{files[1]}: {said}"]
    pipe = tf.pipeline("stitched-classification", model=str(folder), device="cpu")
    with caplog.at_level(logging.WARNING):
        pipe(NOISE[:RATE])
        assert said not in caplog.text
        pipe(NOISE[: 3 * RATE // 2], chunk_length_s=0.75)
        assert said not in caplog.text
        pipe(NOISE[: 3 * RATE // 2])
    assert said in caplog.text


def observed(tmp_path: Path, lengths: list[float], target: Any) -> Observations:
    rows = []
    for i, seconds in enumerate(lengths):
        soundfile.write(tmp_path / f"{i}.wav", NOISE[: int(seconds * RATE)], RATE)
        rows.append({"audio": f"{i}.wav", "text": "w4 w5 w6", "id": f"s{i}"})
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    second = "text" if target.preparer.modality == "text" else "audio"
    columns = {"source": "audio", "target": second, "id": "id"}
    data = Data.model_validate({"dataset": str(tmp_path / "a.jsonl"), "columns": columns})
    source = dataclasses.replace(hearing(), identity={"model": "whisper"})
    splits = Splits(fit=data, test=data)
    samples = {name: load_samples(data, source.preparer, target.preparer, name) for name in ("fit", "test")}
    return Observations(source, target, splits, samples, Runtime.start(device="cpu"), Timings())


def test_a_fit_leaves_out_what_the_other_model_reads_whole(tmp_path: Path) -> None:
    target = tiny("roberta")
    there = dataclasses.replace(end(target, "roberta.encoder.layer.1", preparer(target)), identity={"model": "roberta"})
    seen = observed(tmp_path, [0.5, 1.5, 0.75, 1.25, 1.0], there).collect()
    assert seen.samples["fit"].keys == ["s0", "s2", "s4"]
    assert len(seen.frames["fit"].output) == 3
    assert seen.samples["test"].keys == ["s0", "s1", "s2", "s3", "s4"]
    assert seen.notes == [
        "fit: 2 of 5 samples are left out: by-hand reads 1 s of their sounds, the other model more of them",
        "test: 2 sounds are longer than the 1 s that by-hand reads; the rest of them is left out",
    ]
    assert seen.collect().notes == seen.notes


def test_a_fit_keeps_what_both_models_cut_alike(tmp_path: Path) -> None:
    there = dataclasses.replace(hearing(), identity={"model": "whisper too"})
    seen = observed(tmp_path, [0.5, 1.5], there).collect(["fit"])
    assert seen.samples["fit"].keys == ["s0", "s1"]
    assert len([note for note in seen.notes if note.startswith("fit: 1 sounds are longer than the 1 s")]) == 2


def test_a_fit_of_nothing_but_cut_sounds_is_refused(tmp_path: Path) -> None:
    target = tiny("roberta")
    there = dataclasses.replace(end(target, "roberta.encoder.layer.1", preparer(target)), identity={"model": "roberta"})
    with pytest.raises(DataError, match=r"fit: by-hand reads 1 s of all 2 sounds, .*; cut the sounds and their texts"):
        observed(tmp_path, [1.5, 1.25], there).collect(["fit"])
