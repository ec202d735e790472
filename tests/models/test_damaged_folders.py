"""A hundred faults in each saved folder: bits, cuts and lost files, wherever an answer depends on them; none silent."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from composites import whole
from faults import damaged, draws
from stitches import ears, end, preparer, saved, words
from tiny_models import tiny

from hf_stitch import StitchedModel
from hf_stitch.cli.main import main
from hf_stitch.errors import StitchError

FAULTS = 100


def a_reader(folder: Path) -> Path:
    """Words onto words, by spans of two tokenizers, in shards."""
    source, target = tiny("roberta"), tiny("distilbert")
    here = end(source, "roberta.encoder.layer.1", preparer(source, words()))
    there = end(target, "distilbert.transformer.layer.0", preparer(target, words()))
    return saved(folder, here, there, {"length": "spans", "target_length": "spans"})


def a_hearer(folder: Path) -> Path:
    target = tiny("roberta", id2label={0: "calm", 1: "cross"})
    return saved(folder, ears(), end(target, "roberta.encoder.layer.1", preparer(target)))


def a_writer(folder: Path) -> Path:
    """With generation settings; by hand it spells no text, so it is loaded alone."""
    target = whole("bart")
    return saved(folder, ears(), end(target, "model.encoder.layers.1", preparer(target, words())))


MADE: dict[str, Callable[[Path], Path]] = {"reader": a_reader, "hearer": a_hearer, "writer": a_writer}


def said(capsys: pytest.CaptureFixture[str], *given: str) -> tuple[int, str, str]:
    capsys.readouterr()
    status = main(["predict", "--device", "cpu", *given])
    return status, *capsys.readouterr()


@pytest.mark.parametrize("name", MADE)
def test_no_fault_of_a_saved_folder_is_silent(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, draw = MADE[name](tmp_path / "model"), draws(f"folder {name}")
    given = "w4 w5 w6"
    if name != "reader":
        given = str(tmp_path / "sound.wav")
        soundfile.write(given, np.sin(np.arange(400) / 5) / 3, 16_000)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".py"]
    assert len(files) >= 3
    before = said(capsys, str(folder), given)
    for attempt in range(FAULTS):
        path = draw.choice(files)
        content = path.read_bytes()
        if lost := draw.random() < 0.15:
            how = "lost"
            path.unlink()
        else:
            how, made = damaged(draw, content)
            path.write_bytes(made)
        what = f"{attempt}: {path.relative_to(folder)}: {how}"
        try:
            if not lost and means_the_same(path, content, made):
                continue
            if lost and path.name not in ("config.json", "model.safetensors"):
                StitchedModel.from_pretrained(folder)  # processors are read by others
            else:
                with pytest.raises(StitchError) as told:
                    StitchedModel.from_pretrained(folder)
                assert "\n" not in str(told.value), f"{what}: {told.value}"
            if name == "writer":
                continue
            status, out, error = said(capsys, str(folder), given)
            assert (status, out) == (2, ""), f"{what}: {error}"
            assert len(error.strip().splitlines()) == 1, f"{what}: {error}"
        finally:
            path.write_bytes(content)
    assert said(capsys, str(folder), given) == before


def means_the_same(path: Path, one: bytes, other: bytes) -> bool:
    """Whether a configuration is only spelt otherwise, such as 1E-05 for 1e-05; of other files no byte may change."""
    return path.name == "config.json" and parsed(one) == parsed(other)


def parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content
