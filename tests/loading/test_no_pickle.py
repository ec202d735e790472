"""No pickle is loaded and no code of a folder is run, wherever in it they lie: each would leave a mark."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from hf_stitch import StitchedModel
from hf_stitch.errors import StitchError
from hf_stitch.loading.models import load_model
from hf_stitch.loading.processors import Preparer
from hf_stitch.loading.tables import open_table
from hf_stitch.models.predictor import Predictor
from hf_stitch.recipe.data import Data
from hf_stitch.recipe.side import Side

SAVED = Path(__file__).parents[1] / "fixtures" / "saved_by_0.1.0" / "map"


class Mark:
    """Whoever unpickles it makes a folder."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.place),)


def trap(folder: Path) -> bytes:
    return pickle.dumps(Mark(folder / "unpickled"))


def settings(folder: Path, name: str, **changes: Any) -> None:
    path = folder / name
    held = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    path.write_text(json.dumps({**held, **changes}), encoding="utf-8")


def alone(name: str) -> Callable[[Path], None]:
    """A pickle of that name in place of the weights."""

    def apply(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        (folder / name).write_bytes(trap(folder))

    return apply


def beside(*names: str) -> Callable[[Path], None]:
    """Pickles beside the weights."""

    def apply(folder: Path) -> None:
        for name in names:
            (folder / name).write_bytes(trap(folder))

    return apply


def linked(folder: Path) -> None:
    """Weights that are a link to a pickle of another folder."""
    alone("elsewhere.bin")(folder)
    shutil.move(folder / "elsewhere.bin", folder.parent / "elsewhere.bin")
    (folder / "model.safetensors").symlink_to(folder.parent / "elsewhere.bin")


def linked_shard(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    linked(folder)
    (folder / "model.safetensors").rename(folder / "a.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(weights, "a.safetensors")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def outside(folder: Path) -> None:
    """An index of shards of another folder, by an absolute path."""
    weights = load_file(folder / "model.safetensors")
    other = folder.parent / "other.safetensors"
    shutil.move(folder / "model.safetensors", other)
    index = {"metadata": {}, "weight_map": dict.fromkeys(weights, str(other))}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def adapter(folder: Path) -> None:
    settings(folder, "adapter_config.json", peft_type="LORA", base_model_name_or_path=str(folder))
    beside("adapter_model.bin")(folder)


def code(name: str, key: str, value: Any) -> Callable[[Path], None]:
    """Code that transformers would run if it were trusted."""

    def apply(folder: Path) -> None:
        (folder / "theirs.py").write_text(f"import os\nos.mkdir({str(folder / 'unpickled')!r})\n")
        settings(folder, name, **{key: value})

    return apply


def foreign_code(folder: Path) -> None:
    code("config.json", "auto_map", {"AutoConfig": "theirs.Config", "AutoModel": "theirs.Model"})(folder)
    settings(folder, "config.json", model_type="theirs", architectures=["TheirModel"])


# By kind: what is done to a folder, and whether its weights are still what they were, so that it may be used.
KINDS: dict[str, tuple[Callable[[Path], None], bool]] = {
    **{f"weights in {name}": (alone(name), False) for name in (
        "pytorch_model.bin", "model.pt", "model.pth", "weights.pkl", "model.ckpt", "model.pickle", "model.safetensors",
    )},
    "weights by a link": (linked, False),
    "a shard by a link": (linked_shard, False),
    "shards of another folder": (outside, False),
    "an adapter": (adapter, False),
    "pickles beside": (beside("pytorch_model.bin", "model.pt", "vocab.pkl", "training_args.bin", "optimizer.pt"), True),
    "pickles of tools": (beside("tokenizer.pkl", "preprocessor.bin", "adapter_model.bin", "spiece.model"), True),
    "code of a model": (code("config.json", "auto_map", {"AutoModel": "theirs.M", "AutoConfig": "theirs.C"}), True),
    "code of a model of theirs": (foreign_code, False),
    "code of a tokenizer": (code("tokenizer_config.json", "auto_map", {"AutoTokenizer": ["theirs.T", None]}), True),
    "code of generation": (code("generation_config.json", "custom_generate", "theirs"), True),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_of_a_recipe(kind: str, pico_roberta: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(pico_roberta, tmp_path / "model"))
    spoil, usable = KINDS[kind]
    spoil(folder)
    side = Side.model_validate({"model": str(folder), "hook": ""})
    if usable:
        Preparer.for_model(side, load_model(side))
    else:
        with pytest.raises(StitchError) as caught:
            load_model(side)
        assert "\n" not in str(caught.value)
        assert str(folder) in str(caught.value)
    assert not (folder / "unpickled").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_stitched_model(kind: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(SAVED, tmp_path / "model"))
    spoil, usable = KINDS[kind]
    spoil(folder)
    if usable:
        assert list(Predictor(folder, device="cpu")(["good"]))
    elif spoil is foreign_code:
        StitchedModel.from_pretrained(folder)  # its class is named by who loads it
    else:
        with pytest.raises((StitchError, OSError, ValueError)):
            StitchedModel.from_pretrained(folder)
    assert not (folder / "unpickled").exists()


@pytest.mark.parametrize("name", ["rows.pkl", "rows.pickle", "rows.pt", "rows.npy", "rows.csv", "rows.parquet"])
def test_data(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(trap(tmp_path))
    with pytest.raises(StitchError):
        open_table(Data.model_validate({"dataset": str(tmp_path / name), "columns": {"source": "x"}}), "fit")
    assert not (tmp_path / "unpickled").exists()
