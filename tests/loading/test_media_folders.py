"""Folders of pictures and sounds: the rows and labels that the datasets library's own builders find."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas
import pytest
import soundfile
from datasets import ClassLabel, Image
from PIL import Image as Pillow

from hf_stitch.errors import DataError
from hf_stitch.loading.tables import open_table
from hf_stitch.recipe.data import Data

Files = dict[str, Any]
"""What lies in a folder: rows of metadata by the file's name, None for a sound or picture."""

ROWS = [{"file_name": "a.jpg", "mood": "low", "n": 1}, {"file_name": "cat/b.png", "mood": "high", "n": 2}]
LAYOUTS: dict[str, Files] = {
    "flat": {"a.jpg": None, "b.PNG": None, "notes.txt": "x", ".hidden.png": None, "._a.jpg": None},
    "classes": {"cat/a.JPG": None, "cat/b.png": None, "dog/c.Jpeg": None, "__MACOSX/cat/a.jpg": None},
    "classes with files of other kinds": {"cat/a.bmp": None, "dog/b.gif": None, "dog/c.webp": None, "cat/read.me": "x"},
    "splits": {"train/a.jpg": None, "train/b.jpg": None, "test/c.jpg": None},
    "splits of classes": {
        **{f"train/{label}/{i}.png": None for label in ("cat", "dog") for i in range(3)},
        **{f"test/{label}/{i}.png": None for label in ("cat", "dog") for i in range(2)},
    },
    "three splits": {f"{split}/{label}/a.png": None for split in ("train", "validation", "test") for label in "xy"},
    "other names of splits": {f"{part}/{label}/a.png": None for part in ("training", "val", "eval") for label in "xy"},
    "numbered splits": {f"{split}/{label}/a.png": None for split in ("train-1", "train-2", "test") for label in "xy"},
    "splits inside": {f"data/{split}/{label}/a.png": None for split in ("train", "dev") for label in "xy"},
    "nested classes": {"animals/cat/a.png": None, "animals/dog/b.png": None, "things/car/c.png": None},
    "classes of several depths": {"cat/a.png": None, "cat/more/b.png": None, "c.png": None},
    "metadata.csv": {"a.jpg": None, "cat/b.png": None, "left-out.png": None, "metadata.csv": ROWS},
    "metadata.jsonl": {"a.jpg": None, "cat/b.png": None, "metadata.jsonl": ROWS},
    "metadata.parquet": {"a.jpg": None, "cat/b.png": None, "metadata.parquet": ROWS},
    "metadata of splits": {
        **{"train/a.jpg": None, "train/cat/b.png": None, "train/metadata.jsonl": ROWS},
        **{"test/a.jpg": None, "test/metadata.jsonl": ROWS[:1]},
    },
    "metadata of sub-folders": {
        "one/a.jpg": None, "one/metadata.csv": ROWS[:1], "two/a.jpg": None, "two/metadata.csv": ROWS[:1],
    },
    "pictures of two columns": {
        **{"a.png": None, "m/a.png": None},
        "metadata.jsonl": [{"image_file_name": "a.png", "mask_file_name": "m/a.png", "label": 3}],
    },
}  # fmt: skip


def lay(folder: Path, files: Files, sounds: bool) -> Path:
    for name, content in files.items():
        path = folder / (name if not sounds else name.rpartition(".")[0] + ".Wav" if content is None else name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            path.write_text(content)
        elif content is None and sounds:
            soundfile.write(path, np.ones(9), 8000, format="WAV")
        elif content is None:
            Pillow.new("RGB", (2, 2)).save(path, format="PNG")
        else:
            _metadata(path, [_heard(row) for row in content] if sounds else content)
    return folder


def _heard(row: dict[str, Any]) -> dict[str, Any]:
    """The row with names of sounds in place of pictures."""
    names = {key: value.rpartition(".")[0] + ".Wav" for key, value in row.items() if key.endswith("file_name")}
    return {key.replace("image", "audio"): names.get(key, value) for key, value in row.items()}


def _metadata(path: Path, rows: list[dict[str, Any]]) -> None:
    if path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        frame = pandas.DataFrame(rows)
        frame.to_csv(path, index=False) if path.suffix == ".csv" else frame.to_parquet(path)


def ours(folder: Path, split: str | None = None) -> list[dict[str, Any]]:
    """Rows with files as paths from the folder, without what they end in."""
    table = open_table(Data.model_validate({"dataset": str(folder), "split": split, "columns": {"source": "x"}}), "fit")
    assert table.folder is not None
    rows = []
    for row in table.rows:
        kept = {key.replace("audio", "image"): value for key, value in row.items() if not key.endswith("file_name")}
        files = {key: table.folder / kept[key] for key in ("image", "mask") if key in kept}
        assert all(path.is_file() for path in files.values())
        rows.append({**kept, **{key: _short(path, folder) for key, path in files.items()}})
    return sorted(rows, key=lambda row: str(row["image"]))


def theirs(folder: Path, cache: Path) -> dict[str, list[dict[str, Any]]]:
    """The same of `imagefolder`; `audiofolder`, which shares its code, needs torchcodec."""
    splits = {}
    for split, rows in datasets.load_dataset("imagefolder", data_dir=str(folder), cache_dir=str(cache)).items():
        for name in (name for name, feature in rows.features.items() if isinstance(feature, Image)):
            rows = rows.cast_column(name, Image(decode=False))
        found = [{key: _plain(rows.features[key], row[key], folder) for key in row} for row in rows]
        splits[split] = sorted(found, key=lambda row: str(row["image"]))
    return splits


def _plain(feature: Any, value: Any, folder: Path) -> Any:
    if isinstance(feature, ClassLabel):
        return None if value is None else feature.int2str(value)
    return _short(Path(value["path"]), folder) if isinstance(value, dict) else value


def _short(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", ["pictures", "sounds"])
def test_rows_and_labels_are_those_of_the_datasets_library(layout: str, kind: str, tmp_path: Path) -> None:
    folder = lay(tmp_path / "folder", LAYOUTS[layout], sounds=kind == "sounds")
    pictures = folder if kind == "pictures" else lay(tmp_path / "pictures", LAYOUTS[layout], sounds=False)
    expected = theirs(pictures, tmp_path / "cache")
    for split, rows in expected.items():
        # There files of one class have none, and those of splits without classes are of the class `test`.
        labelled = "label" in rows[0] and layout != "splits"
        found, wanted = ours(folder, split), rows
        if not labelled:
            found, wanted = ([{k: v for k, v in row.items() if k != "label"} for row in one] for one in (found, rows))
        assert found == wanted
    if len(expected) == 1:
        assert ours(folder) == ours(folder, next(iter(expected)))
        return
    known = ", ".join(sorted(expected))
    with pytest.raises(DataError, match=f"has several splits, give one as `split`; known: {known}"):
        ours(folder)
    with pytest.raises(DataError, match="has no split 'trian'; did you mean 'train'"):
        ours(folder, "trian")


def test_slices_and_exact_names_of_splits(tmp_path: Path) -> None:
    folder = lay(tmp_path, LAYOUTS["other names of splits"], sounds=False)
    assert [row["label"] for row in ours(folder, "val")] == ["x", "y"]
    assert [row["label"] for row in ours(folder, "validation[1:]")] == ["y"]


def test_classes_that_are_called_like_splits_among_others_are_classes(tmp_path: Path) -> None:
    folder = lay(tmp_path, {f"{label}/{i}.png": None for label in ("train", "bus", "car") for i in range(2)}, False)
    assert [row["label"] for row in ours(folder)] == ["bus", "bus", "car", "car", "train", "train"]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a.txt": "x"}, "no sound files .* no pictures"),
        ({"a.png": None, "metadata.csv": [{"file": "a.png"}]}, "has no column 'file_name'; did you mean 'file'"),
        ({"x/a.png": None, "x/metadata.csv": [{"file_name": "a.png", "n": "s"}],
          "y/a.png": None, "y/metadata.csv": [{"file_name": "a.png", "n": 1}]}, "columns of one name hold different"),
    ],
)  # fmt: skip
def test_folders_that_hold_nothing_of_the_kind_are_told(tmp_path: Path, files: Files, said: str) -> None:
    with pytest.raises(DataError, match=said):
        ours(lay(tmp_path, files, sounds=False))
