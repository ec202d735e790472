"""Saved stitched models that were damaged or made to harm: refused with one line before anything of them is used."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel

from hf_stitch import StitchedModel
from hf_stitch.errors import ArtifactError

SAVED = Path(__file__).parents[1] / "fixtures" / "saved_by_0.1.0" / "full"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SAVED, tmp_path / "model"))


def set_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")


def pickled(folder: Path, index: str) -> None:
    """The weights in a pickle that could be loaded, named by an index."""
    weights = load_file(folder / "model.safetensors")
    torch.save(weights, folder / "x.bin")
    (folder / index).write_text(json.dumps({"metadata": {}, "weight_map": dict.fromkeys(weights, "x.bin")}))


def by_index(folder: Path) -> dict[str, Any]:
    pickled(folder, "model.safetensors.index.json")
    (folder / "model.safetensors").unlink()
    return {}


def by_variant(folder: Path) -> dict[str, Any]:
    pickled(folder, "model.safetensors.index.small.json")
    return {"variant": "small"}


def by_config(folder: Path) -> dict[str, Any]:
    pickled(folder, "my.safetensors.index.json")
    set_config(folder, transformers_weights="my.safetensors.index.json")
    return {}


def by_argument(folder: Path) -> dict[str, Any]:
    pickled(folder, "pytorch_model.bin.index.json")
    (folder / "model.safetensors").unlink()
    return {"use_safetensors": False}


@pytest.mark.parametrize("loader", [StitchedModel, AutoModel])
@pytest.mark.parametrize("spoil", [by_index, by_variant, by_config, by_argument])
def test_what_an_index_names_is_never_unpickled(folder: Path, spoil: Any, loader: Any) -> None:
    more = spoil(folder)
    with pytest.raises(ArtifactError, match="pickles are never loaded") as caught:
        loader.from_pretrained(folder, **more)
    assert "\n" not in str(caught.value)
