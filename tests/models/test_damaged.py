"""Saved stitched models that were damaged or made to harm: refused with one line before anything of them is used."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
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


def saved(folder: Path, form: str) -> Path:
    """The model saved anew, in one file or in shards."""
    model, place = StitchedModel.from_pretrained(folder), folder.parent / form
    model.save_pretrained(place, **({"max_shard_size": "10KB"} if form == "shards" else {}))
    return place


@pytest.mark.parametrize("form", ["whole", "shards"])
@pytest.mark.parametrize("seed", range(2))
def test_damaged_weights_are_refused(folder: Path, form: str, seed: int) -> None:
    """Flipped bits and cuts anywhere in the weights and their index."""
    draw, place = random.Random(seed), saved(folder, form)
    files = sorted([*place.glob("*.safetensors"), *place.glob("*.index.json")])
    assert len(files) == 1 if form == "whole" else len(files) > 3
    for attempt in range(25):
        path = draw.choice(files)
        whole = path.read_bytes()
        content, byte = bytearray(whole), draw.randrange(len(whole))
        if draw.random() < 0.2:
            del content[byte:]
        else:
            content[byte] ^= 1 << draw.randrange(8)
        path.write_bytes(content)
        with pytest.raises(ArtifactError) as caught:
            StitchedModel.from_pretrained(place)
        assert "\n" not in str(caught.value), f"seed {seed}, attempt {attempt}, {path.name}, byte {byte}"
        path.write_bytes(whole)
    StitchedModel.from_pretrained(place)


def test_other_weights_of_the_same_shapes_are_refused(folder: Path) -> None:
    place = saved(folder, "whole")
    weights = load_file(place / "model.safetensors")
    save_file({key: one + 1 for key, one in weights.items()}, place / "model.safetensors", {"format": "pt"})
    with pytest.raises(ArtifactError, match=r"model.safetensors is not what was saved .* copy or fit it again"):
        StitchedModel.from_pretrained(place)
    config = json.loads((place / "config.json").read_text(encoding="utf-8"))
    config.pop("weights_digest")
    (place / "config.json").write_text(json.dumps(config), encoding="utf-8")
    StitchedModel.from_pretrained(place)


def test_a_trained_model_is_saved_with_its_own_digest(folder: Path) -> None:
    """Over the model that it came from, in shards, and again in one file: never an older state is loaded."""
    model = StitchedModel.from_pretrained(saved(folder, "whole")).trainable("layer")
    place = folder.parent / "whole"
    for more in ({"max_shard_size": "10KB"}, {}, {"variant": "small"}):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.5)
        model.save_pretrained(place, **more)
        found = StitchedModel.from_pretrained(place, **({"variant": "small"} if "variant" in more else {}))
        assert all(one.equal(two) for one, two in zip(found.parameters(), model.parameters()))


def test_a_configuration_taken_elsewhere_speaks_of_no_weights(folder: Path) -> None:
    model = StitchedModel.from_pretrained(saved(folder, "whole"))
    assert "weights_digest" not in model.config.to_dict()
    other = folder.parent / "by_hand"
    model.config.save_pretrained(other)
    save_file({key: one + 1 for key, one in model.state_dict().items()}, other / "model.safetensors", {"format": "pt"})
    StitchedModel.from_pretrained(other)
    StitchedModel.from_pretrained(other, config=model.config)
