"""torchaudio where it is, our own ways elsewhere, and one that cannot load left aside; forced alignment by both."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from pico_recipes import correspondence, listening, observations, saved
from pico_speech import say
from transformers.utils.import_utils import is_torchaudio_available

from hf_stitch.activations.ctc import CtcAlphabet, words_of
from hf_stitch.activations.forced_alignment import UNALIGNED, forced_path, spelled, viterbi
from hf_stitch.activations.hooked_model import alphabet_of
from hf_stitch.errors import FitError, RecipeError
from hf_stitch.experiments.fit import fit
from hf_stitch.loading.audio import resample
from hf_stitch.recipe.overrides import merge
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.runtime import torchaudio_extra
from hf_stitch.stitching.correspondence import Correspondence

ALPHABET = CtcAlphabet(0, 4, {5: "A", 6: "B", 7: "'", 8: "TH"})


@contextmanager
def missing() -> Iterator[None]:
    """As if torchaudio were missing, to us and to transformers: None stands for a module that cannot be had."""
    remembered = torchaudio_extra.torchaudio, is_torchaudio_available
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, torchaudio_extra.NAME, None)
        for answer in remembered:
            answer.cache_clear()
        assert torchaudio_extra.torchaudio().module is None
        yield
    for answer in remembered:
        answer.cache_clear()


@pytest.fixture
def without() -> Iterator[None]:
    with missing():
        yield


# forced alignment


def scores(frames: int, classes: int, seed: int = 0, sharp: float = 2.0) -> np.ndarray:
    drawn = sharp * np.random.default_rng(seed).standard_normal((frames, classes)).astype(np.float32)
    return torch.from_numpy(drawn).log_softmax(-1).numpy()


def collapsed(path: np.ndarray, blank: int = 0) -> list[int]:
    return [int(a) for a, b in itertools.pairwise([*path, -1]) if a != b and a != blank]


def test_the_path_is_the_best_of_all_that_spell_the_labels(without: None) -> None:
    for seed in range(6):
        found, labels = scores(6, 3, seed), [[1, 2], [1, 1], [2, 1, 2]][seed % 3]
        ways = [np.array(way) for way in itertools.product(range(3), repeat=6) if collapsed(np.array(way)) == labels]
        best = max(ways, key=lambda way: found[np.arange(6), way].astype(np.float64).sum())
        assert forced_path(found, labels, 0).tolist() == best.tolist()


@pytest.mark.parametrize(("frames", "labels"), [(5, []), (2, [1, 2, 1]), (3, [1, 1, 2])])
def test_labels_that_do_not_fit_have_no_path(without: None, frames: int, labels: list[int]) -> None:
    assert forced_path(scores(frames, 3), labels, 0).tolist() == [UNALIGNED] * frames
    assert words_of(np.full(4, UNALIGNED), ALPHABET) == []


def test_long_paths(without: None) -> None:
    labels = np.random.default_rng(1).integers(1, 9, 200).tolist()
    path = forced_path(scores(900, 9), labels, 0)
    assert collapsed(path) == labels


def test_a_text_is_spelled_in_the_alphabets_case_and_what_it_lacks_is_left_out() -> None:
    assert spelled("ab, 7 b'A", ALPHABET) == [5, 6, 4, 6, 7, 5]
    assert spelled("7 !", ALPHABET) == []


def test_forced_alignment_finds_every_word_of_the_fit(
    pico_wav2vec2: Path, pico_xlnet: Path, spoken: Path, without: None
) -> None:
    """Of a recogniser that hears nothing right."""
    content = merge(listening(pico_wav2vec2, pico_xlnet, spoken), {"sequence": {"align": "forced"}})
    rows = correspondence(content, "fit", "test")
    opened, pairing = rows.observations, rows.fitted
    frames, letters = opened.frames["fit"], alphabet_of(opened.source)
    assert frames.forced is not None
    assert opened.frames["test"].forced is None
    for i in range(len(frames)):
        text = opened.samples["fit"].target(i)
        assert " ".join(word.text for word in words_of(frames.forced[i].numpy(), letters)) == text
    assert pairing.dropped == 0
    assert len(pairing) == sum(len(opened.samples["fit"].target(i).split()) for i in range(len(frames)))
    heard = Recipe.parse(listening(pico_wav2vec2, pico_xlnet, spoken))
    with pytest.raises(FitError, match="found no corresponding rows"):
        Correspondence(opened, heard).pairing("fit")


def test_forced_alignment_needs_a_head(pico_roberta: Path, pico_xlnet: Path, written: Path) -> None:
    from pico_recipes import reading

    content = merge(reading(pico_roberta, pico_xlnet, written), {"sequence": {"length": "ctc", "align": "forced"}})
    with pytest.raises(RecipeError, match="ctc needs a source with a CTC head"):
        observations(content).collect()


# where torchaudio is


@pytest.mark.torchaudio
@pytest.mark.parametrize("seed", range(40))
def test_both_alignments_are_the_same(seed: int) -> None:
    draw = np.random.default_rng(seed)
    frames, classes = int(draw.integers(8, 80)), int(draw.integers(3, 9))
    labels = draw.integers(1, classes, int(draw.integers(1, frames // 2))).tolist()
    found = scores(frames, classes, seed, sharp=float(draw.choice([0.0, 0.1, 1.0, 5.0])))
    assert forced_path(found, labels, 0).tolist() == viterbi(found, labels, 0).tolist()


@pytest.mark.torchaudio
@pytest.mark.parametrize(
    ("own", "rate"), [(8000, 16000), (22050, 16000), (44100, 16000), (48000, 16000), (16000, 8000)]
)
def test_both_resample_alike(own: int, rate: int) -> None:
    """0.2 % of the loudest amplitude, on sound below 0.8 of what the lower rate carries."""
    draw, time = np.random.default_rng(0), np.arange(own) / own
    pitches = draw.uniform(0.01, 0.8, 20) * min(own, rate) / 2
    sound = sum(np.sin(2 * np.pi * pitch * time + shift) for pitch, shift in zip(pitches, draw.uniform(0, 6, 20)))
    sound = (sound / np.abs(sound).max()).astype(np.float32)
    by_torchaudio = resample(sound, own, rate)
    with missing():
        by_scipy = resample(sound, own, rate)
    assert by_torchaudio.shape == by_scipy.shape == (rate,)
    inside = slice(rate // 20, -rate // 20)
    assert np.abs(by_torchaudio - by_scipy)[inside].max() < 2e-3
    assert by_torchaudio.dtype == np.float32


@pytest.mark.torchaudio
def test_a_fit_with_torchaudio_says_so(pico_listener: Path, pico_xlnet: Path, spoken: Path) -> None:
    content = merge(listening(pico_listener, pico_xlnet, spoken), {"sequence": {"align": "forced"}})
    assert torchaudio_extra.torchaudio().module is not None
    _, report = fit(Recipe.parse(content), device="cpu")
    assert report.environment["audio"] == "torchaudio"
    assert report.environment["versions"]["torchaudio"] == torchaudio_extra.version()


# where it cannot load

BROKEN = 'raise OSError("libc10_cuda.so: cannot open shared object file")\n'


@pytest.fixture
def broken(tmp_path: Path) -> dict[str, str]:
    """An environment whose torchaudio was built for another torch."""
    package = tmp_path / "site" / "torchaudio"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(BROKEN)
    (package / "functional.py").write_text("")
    info = tmp_path / "site" / "torchaudio-2.11.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torchaudio\nVersion: 2.11.0\n")
    path = os.pathsep.join([str(tmp_path / "site"), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path}


def python(code: str, environment: dict[str, str]) -> str:
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_feature_extractors_load_beside_a_broken_torchaudio(broken: dict[str, str]) -> None:
    loads = "from transformers import Wav2Vec2FeatureExtractor as E; print(E().sampling_rate)"
    assert python(f"import hf_stitch; {loads}", broken) == "16000"
    alone = subprocess.run([sys.executable, "-c", loads], env=broken, capture_output=True, text=True, check=False)
    assert "libc10_cuda" in alone.stderr, "transformers by itself has learned to do without: the way round can go"


def test_a_broken_torchaudio_is_told_and_left_aside(
    broken: dict[str, str], pico_listener: Path, pico_xlnet: Path, spoken: Path, tmp_path: Path
) -> None:
    content = listening(pico_listener, pico_xlnet, spoken, data={"fit": {"samples": 20}})
    command = [sys.executable, "-m", "hf_stitch", "fit", str(saved(content, tmp_path)), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, env=broken, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = "torchaudio 2.11.0 is installed but cannot load (OSError: libc10_cuda.so"
    assert told in done.stderr.replace("\n", " ")
    from hf_stitch.report.report import Report

    report = Report.load(tmp_path / "out" / "report.json")
    assert any(note.startswith(told) for note in report.notes)
    assert report.environment["audio"] == "torchaudio cannot load, scipy"
    sound = tmp_path / "said.wav"
    import soundfile

    soundfile.write(sound, say("so it"), 8000)
    asked = [sys.executable, "-m", "hf_stitch", "predict", str(tmp_path / "out"), str(sound)]
    done = subprocess.run(asked, env=broken, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "torchaudio 2.11.0 is installed but cannot load" in done.stderr
    assert '"label"' in done.stdout
