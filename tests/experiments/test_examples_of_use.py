"""The examples of card and page run as they stand there, and name the folder that was written."""

from __future__ import annotations

import io
import re
import shlex
import sys
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import transformers as tf
from pico_recipes import listening, reading
from PIL import Image

from hf_stitch.cli.main import main
from hf_stitch.experiments.fit import fit
from hf_stitch.models.hub.publishing import public_form
from hf_stitch.recipe.recipe import Recipe


def text(get: Callable[[str], Any]) -> dict[str, Any]:
    return reading(get("pico_roberta"), get("pico_xlnet"), get("written"), trust="none")


def sound(get: Callable[[str], Any]) -> dict[str, Any]:
    return listening(get("pico_listener"), get("pico_xlnet"), get("spoken"), stitch={"method": "affine"})


def numbers(get: Callable[[str], Any]) -> dict[str, Any]:
    del get
    return Recipe.load("parabola", ["data.fit.samples=60", "data.test.samples=8", "stitch.method=affine"]).plain() | {
        "compare": []
    }


def picture(get: Callable[[str], Any]) -> dict[str, Any]:
    base, draw = get("tmp_path_factory").mktemp("seen"), np.random.default_rng(0)
    torch.manual_seed(0)
    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    tf.ViTForImageClassification(tf.ViTConfig(**small, image_size=16, patch_size=8)).save_pretrained(base / "vit")
    tf.ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(base / "vit")
    for split, count in (("fit", 12), ("test", 4)):
        (base / split).mkdir()
        for i in range(count):
            Image.fromarray(draw.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(base / split / f"{i}.png")
    data = {split: {"dataset": str(base / split), "columns": {"source": "image"}} for split in ("fit", "test")}
    side = {"model": str(base / "vit"), "hook": "vit.layers.0"}
    return {"source": side, "target": side, "data": data, "trust": "none"}


def blocks(folder: Path) -> tuple[list[str], list[str]]:
    """Python and commands of the card; those of the page are the same."""
    card, page = ((folder / name).read_text(encoding="utf-8") for name in ("README.md", "report.html"))
    python, commands = (re.findall(rf"```{kind}\n(.*?)```", card, re.DOTALL) for kind in ("python", "bash"))
    assert python[0].strip() in unescape(page)
    assert commands[0].strip() in unescape(page)
    return python, [line for block in commands for line in block.splitlines() if line]


@pytest.mark.parametrize("kind", [text, sound, picture, numbers], ids=lambda kind: kind.__name__)
def test_the_examples_run(
    kind: Any,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    out = Path("my results") / kind.__name__  # a name with a blank, not the default
    fit(Recipe.parse(kind(request.getfixturevalue)), out, device="cpu")
    assert "stitched/" not in (out / "README.md").read_text() + (out / "report.html").read_text()
    python, commands = blocks(out)
    assert len(python) == 2
    for code in python:
        exec(code, {})
    assert re.search("label|values|text|[0-9]", capsys.readouterr().out)
    soundfile.write("my.wav", np.random.default_rng(0).normal(0, 0.1, 16_000), 16_000)
    Image.new("RGB", (64, 64)).save("my.png")
    for line in commands:
        piped, _, command = line.rpartition(" | ")
        program, *words = shlex.split(command)
        assert program == "hf-stitch"
        given = " ".join(shlex.split(piped)[1:]) + "\n"
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given.encode())))
        assert main([*words, "--quiet"]) == 0
    assert capsys.readouterr().out.strip()
    with public_form(out, "me/answers") as public:
        python, commands = blocks(public.folder)
        assert 'model="me/answers"' in python[0]
        assert str(out) not in (public.folder / "README.md").read_text() + (public.folder / "report.html").read_text()


def test_a_folder_that_lies_elsewhere_is_called_by_its_name(
    pico_roberta: Path, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Examples hold no path of the machine; and of an edited card the rest stays."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    out = tmp_path / "elsewhere"
    fit(Recipe.parse(reading(pico_roberta, pico_roberta, written, trust="none")), out, device="cpu")
    card = (out / "README.md").read_text()
    assert 'from_pretrained("elsewhere")' in card
    assert str(tmp_path) not in card + (out / "report.html").read_text()
    (out / "README.md").write_text(card.replace("## Use", "Mine, not of elsewhere.\n\n## Use"))
    with public_form(out, "me/answers") as public:
        pushed = (public.folder / "README.md").read_text()
    assert "Mine, not of elsewhere." in pushed
    assert pushed.count("me/answers") == card.count("elsewhere")
