from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hf_stitch.errors import DataError
from hf_stitch.loading.audio import SILENCE, read_audio, resample

RATE = 16000


def tone(seconds: float = 0.25, rate: int = RATE, pitch: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * pitch * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def file_of(samples: np.ndarray, rate: int, kind: str = "WAV", subtype: str | None = None) -> bytes:
    sink = io.BytesIO()
    soundfile.write(sink, samples, rate, format=kind, subtype=subtype)
    return sink.getvalue()


@pytest.mark.parametrize("kind", ["WAV", "FLAC"])
def test_path_bytes_and_array_give_the_same_samples(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"tone.{kind.lower()}"
    path.write_bytes(file_of(tone(), RATE, kind))
    once = read_audio(path, RATE)
    assert once.samples.dtype == np.float32
    assert once.samples.shape == (4000,)
    assert once.notes == ()
    assert np.abs(once.samples - tone()).max() <= 1 / 32768
    for same in (path.read_bytes(), str(path), {"bytes": path.read_bytes(), "path": None}, {"path": str(path)}):
        assert np.array_equal(read_audio(same, RATE).samples, once.samples)
    assert np.array_equal(read_audio({"array": once.samples, "sampling_rate": RATE}, RATE).samples, once.samples)


@pytest.mark.parametrize("own", [8000, 22050, 44100, 48000])
def test_resampling_keeps_the_tone_and_says_so(own: int) -> None:
    audio = read_audio({"array": tone(1.0, own), "sampling_rate": own}, RATE)
    assert audio.samples.shape == (RATE,)
    assert audio.notes == (f"resampled from {own} Hz to {RATE} Hz",)
    inside = slice(RATE // 10, -RATE // 10)  # the filter sees zeros beyond the ends
    assert np.abs(audio.samples - tone(1.0))[inside].max() < 2e-3


def test_resampling_removes_what_the_rate_cannot_carry() -> None:
    assert np.abs(resample(tone(1.0, 48000, pitch=12000), 48000, RATE))[2000:-2000].max() < 1e-2


def test_channels_are_averaged_in_files_and_in_arrays_of_either_order() -> None:
    stereo = np.stack([tone(), np.zeros_like(tone())], axis=1)
    for source in (
        file_of(stereo, RATE, subtype="FLOAT"),
        {"array": stereo, "sampling_rate": RATE},
        {"array": stereo.T, "sampling_rate": RATE},
    ):
        audio = read_audio(source, RATE)
        assert audio.notes == ("2 channels averaged",)
        assert np.abs(audio.samples - tone() / 2).max() < 1e-6


def test_integers_are_scaled_by_their_range() -> None:
    audio = read_audio({"array": np.array([16384, -32768], np.int16), "sampling_rate": RATE}, RATE)
    assert audio.samples.tolist() == [0.5, -1.0]


def test_eight_bits_are_unsigned_as_in_files() -> None:
    audio = read_audio({"array": np.array([192, 0, 128], np.uint8), "sampling_rate": RATE}, RATE)
    assert audio.samples.tolist() == [0.5, -1.0, 0.0]


UNKNOWN = {
    "a list": [16384, -32768],
    "int64": np.array([16384, -32768]),
    "uint16": np.array([16384, 32768], np.uint16),
    "uint32": np.array([16384, 32768], np.uint32),
    "24 bits in int64": np.array([2**22, -(2**23)]),
}


@pytest.mark.parametrize("array", UNKNOWN.values(), ids=UNKNOWN.keys())
def test_whole_numbers_of_unknown_width_are_refused_with_what_to_do(array: object) -> None:
    said = r"^one: whole numbers of u?int\d+, .*; give int16 or int32, or numbers from -1 to 1"
    with pytest.raises(DataError, match=said):
        read_audio({"array": array, "sampling_rate": RATE}, RATE, name="one")


def test_sixteen_bits_in_thirty_two_are_not_told_as_silence_alone() -> None:
    array = np.array([16384, -32768], np.int32)
    with pytest.raises(
        DataError, match=r"silent, .*; leave it out, or give the type that has its width: int32 goes up"
    ):
        read_audio({"array": array, "sampling_rate": RATE}, RATE, name="one")


def test_an_array_of_whole_numbers_that_is_only_bits_of_silence_is_silent() -> None:
    with pytest.raises(DataError, match="silent"):
        read_audio({"array": np.zeros(9, np.int16), "sampling_rate": RATE}, RATE)


def test_paths_that_no_file_can_have_are_refused() -> None:
    for path in ("x" * 999, "a/" * 3000, "a\0b"):
        with pytest.raises(DataError, match=r"^one: no such file"):
            read_audio(path, RATE, name="one")


def test_the_largest_amplitude_decides_what_is_silent() -> None:
    assert read_audio({"array": np.full(9, 1.01 * SILENCE), "sampling_rate": RATE}, RATE).samples.shape == (9,)


SILENT = np.full(100, 0.9 * SILENCE)
BAD = {
    "text": (b"this is no sound at all", "not audio that soundfile can read"),
    "no bytes": (b"", "empty"),
    "no samples": (file_of(np.zeros(0), RATE), "no audio samples"),
    "silent": ({"array": SILENT, "sampling_rate": RATE}, "silent"),
    "nan": ({"array": [0.1, float("nan")], "sampling_rate": RATE}, "NaN or infinite"),
    "infinite": ({"array": [0.1, float("inf")], "sampling_rate": RATE}, "NaN or infinite"),
    "short": ({"array": tone(0.01), "sampling_rate": RATE}, "10 ms where one frame of the model needs 20 ms"),
    "no rate": ({"array": tone()}, "sampling_rate"),
    "rate of zero": ({"array": tone(), "sampling_rate": 0}, "sampling_rate"),
    "words": ({"array": ["a", "b"], "sampling_rate": RATE}, "expected an array"),
    "nothing": ({"sound": 1}, "bytes, path, or array"),
    "a number": (7, "got int"),
    "missing": ("nowhere.wav", "no such file"),
}


@pytest.mark.parametrize(("source", "message"), BAD.values(), ids=BAD.keys())
def test_useless_sound_is_refused_by_the_samples_name(source: object, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_audio(source, RATE, name="fit sample '7'", minimum=320)  # type: ignore[arg-type]
    assert str(caught.value).startswith("fit sample '7': ")
    assert "\n" not in str(caught.value)


def test_an_empty_or_headerless_file_is_refused_by_its_path(tmp_path: Path) -> None:
    for name, content in (("empty.wav", b""), ("noise.raw", b"1234")):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(DataError, match=name):
            read_audio(path, RATE)
