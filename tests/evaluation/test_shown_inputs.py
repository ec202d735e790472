"""Inputs in a report: small whatever they were, and still what they were."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from hf_stitch.evaluation.shown_inputs import CHARACTERS, NUMBERS, PIXELS, RATE, SECONDS, shown_input, shown_numbers
from hf_stitch.loading.processors import Preparer
from hf_stitch.loading.samples import Samples, load_samples
from hf_stitch.recipe.data import Data

READS = {
    "text": Preparer("text", "input_ids"),
    "vector": Preparer("vector", "inputs"),
    "image": Preparer("image", "pixel_values"),
    "audio": Preparer("audio", "input_values", SimpleNamespace(sampling_rate=16000)),
}


def samples(folder: Path, kind: str, value: Any) -> Samples:
    (folder / "rows.jsonl").write_text(json.dumps({"x": value}) + "\n")
    data = Data.model_validate({"dataset": str(folder / "rows.jsonl"), "columns": {"source": "x"}})
    return load_samples(data, READS[kind], READS[kind], "test")


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("length", [1, CHARACTERS, CHARACTERS + 1, 50_000])
def test_texts_are_cut(tmp_path: Path, length: int, side: int) -> None:
    text = ("wörter und mehr " * (length // 16 + 1))[: length - 1] + "."
    found = shown_input(samples(tmp_path, "text", text), 0, side, None)
    assert found == {"text": text[:CHARACTERS], "characters": length}


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("seconds", [0.05, 1.5, 8.0])
def test_sounds_are_short_and_at_a_low_rate(tmp_path: Path, rate: int, seconds: float) -> None:
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)
    soundfile.write(tmp_path / "a.wav", np.stack([wave, wave], 1), rate)
    found = shown_input(samples(tmp_path, "audio", "a.wav"), 0, 0, None)
    content = base64.b64decode(found["sound"])
    heard, low = soundfile.read(io.BytesIO(content))
    assert (found["type"], low) == ("audio/flac", RATE)
    assert found["of"] == pytest.approx(seconds, rel=0.01)
    assert len(heard) / low == pytest.approx(found["seconds"], rel=0.01)
    assert found["seconds"] == pytest.approx(min(seconds, SECONDS), rel=0.01)
    assert len(content) < 90_000
    tone = np.abs(np.fft.rfft(heard)).argmax() / (len(heard) / low)
    assert tone == pytest.approx(440, abs=1 / seconds)


@pytest.mark.parametrize("size", [(3, 5), (28, 28), (2000, 300), (640, 1900)])
def test_pictures_are_thumbnails(tmp_path: Path, size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    found = shown_input(samples(tmp_path, "image", "a.png"), 0, 1, None)
    content = base64.b64decode(found["picture"])
    with Image.open(io.BytesIO(content)) as small:
        assert small.get_format_mimetype() == found["type"]
        assert max(small.size) == min(max(size), PIXELS)
        assert small.size[0] / small.size[1] == pytest.approx(size[0] / size[1], rel=0.03)
    assert len(content) < 30_000


@pytest.mark.parametrize("length", [1, NUMBERS, 40])
def test_rows_of_numbers_are_cut(tmp_path: Path, length: int) -> None:
    found = shown_input(samples(tmp_path, "vector", [0.5 * i for i in range(length)]), 0, 0, None)
    assert found == {"numbers": [0.5 * i for i in range(min(length, NUMBERS))], "of": length}


def test_numbers_that_are_a_picture_are_one_on_the_scale_asked_for() -> None:
    config = SimpleNamespace(image_shape=[2, 3])
    own = shown_numbers([0, 1, 2, 3, 4, 5.0], config)
    wider = shown_numbers([0, 1, 2, 3, 4, 50.0], config, np.array([0.0, 10.0]))
    for found, levels in ((own, [0, 51, 102, 153, 204, 255]), (wider, [0, 26, 51, 76, 102, 255])):
        with Image.open(io.BytesIO(base64.b64decode(found["picture"]))) as picture:
            assert picture.size == (3, 2)
            assert np.asarray(picture.convert("L")).ravel().tolist() == levels
