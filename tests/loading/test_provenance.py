"""What stands for data in a cache's key: content, not names and times."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset

from hf_stitch.loading.provenance import data_files, data_stamp
from hf_stitch.recipe.data import Data

NAMES = ["one.wav", "two.wav", "three.wav"]


def data_of(place: Path | str, **more: object) -> Data:
    return Data.model_validate({"dataset": str(place), "columns": {"source": "audio"}, **more})


def jsonl(folder: Path) -> Path:
    (folder / "rows.jsonl").write_text("".join(json.dumps({"audio": f"sounds/{name}"}) + "\n" for name in NAMES))
    return folder / "rows.jsonl"


def absolute(folder: Path) -> Path:
    rows = [{"audio": str(folder / "sounds" / name)} for name in NAMES]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "rows.jsonl"


def mappings(folder: Path) -> Path:
    rows = [{"audio": {"path": f"sounds/{name}", "bytes": None}} for name in NAMES]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "rows.jsonl"


def csv(folder: Path) -> Path:
    (folder / "rows.csv").write_text("audio\n" + "".join(f"sounds/{name}\n" for name in NAMES))
    return folder / "rows.csv"


def parquet(folder: Path) -> Path:
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    cells = pa.array([{"bytes": None, "path": f"sounds/{name}"} for name in NAMES], kind)
    pq.write_table(pa.table({"audio": cells}), folder / "rows.parquet")
    return folder / "rows.parquet"


def splits(folder: Path) -> Path:
    (folder / "data").mkdir()
    cells = pa.array([f"../sounds/{name}" for name in NAMES])
    pq.write_table(pa.table({"audio": cells}), folder / "data" / "fit.parquet")
    return folder / "data"


def sounds(folder: Path) -> Path:
    return folder / "sounds"


def metadata(folder: Path) -> Path:
    (folder / "sounds" / "metadata.csv").write_text("file_name\n" + "".join(f"{name}\n" for name in NAMES))
    return folder / "sounds"


def saved(folder: Path) -> Path:
    Dataset.from_dict({"audio": [f"../sounds/{name}" for name in NAMES]}).save_to_disk(str(folder / "saved"))
    return folder / "saved"


TABLES = [jsonl, absolute, mappings, csv, parquet, splits, sounds, metadata, saved]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "project" / "sounds").mkdir(parents=True)
    for name in NAMES:
        (tmp_path / "project" / "sounds" / name).write_bytes(name.encode() * 20)
    return tmp_path / "project"


def edit(path: Path) -> None:
    """Other content of the same length at the same time."""
    status, content = path.stat(), path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("table", TABLES)
def test_sounds_recorded_anew_under_the_same_names_are_other_data(folder: Path, table: Callable[[Path], Path]) -> None:
    data = data_of(table(folder))
    first = data_stamp(data, "fit")
    assert data_stamp(data, "fit") == first
    edit(folder / "sounds" / NAMES[2])
    assert data_stamp(data, "fit") != first
    edit(folder / "sounds" / NAMES[2])
    assert data_stamp(data, "fit") == first


@pytest.mark.parametrize("table", TABLES)
def test_the_time_of_a_file_and_what_lies_beside_it_mean_nothing(folder: Path, table: Callable[[Path], Path]) -> None:
    data = data_of(table(folder))
    first = data_stamp(data, "fit")
    for path in folder.rglob("*"):
        os.utime(path, ns=(0, 0))
    (folder / "beside.wav").write_bytes(b"no")
    assert data_stamp(data, "fit") == first


@pytest.mark.parametrize("table", [one for one in TABLES if one is not absolute])
def test_equal_names_in_two_projects_are_two_data_sets(
    folder: Path, table: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, other = table(folder), Path(shutil.copytree(folder, folder.parent / "other"))
    data, stamps = data_of(place.relative_to(folder)), []
    for project in (folder, other):
        monkeypatch.chdir(project)
        stamps.append((data_stamp(data, "fit"), data_files(data, "fit")))
    assert stamps[0][0] != stamps[1][0]
    assert stamps[0][1] == stamps[1][1], "their content is the same"
    edit(other / "sounds" / NAMES[0])
    assert data_files(data, "fit") != stamps[0][1]


@pytest.mark.parametrize("table", [jsonl, csv, parquet, mappings])
def test_of_the_first_samples_only_their_sounds_count(folder: Path, table: Callable[[Path], Path]) -> None:
    data = data_of(table(folder), samples=2)
    first = data_stamp(data, "fit")
    edit(folder / "sounds" / NAMES[2])
    assert data_stamp(data, "fit") == first
    edit(folder / "sounds" / NAMES[1])
    assert data_stamp(data, "fit") != first


def test_a_table_below_the_home_folder_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jsonl(folder)
    monkeypatch.setenv("HOME", str(folder))
    data = data_of("~/rows.jsonl")
    first = data_stamp(data, "fit")
    assert len(first["files"]) == 1 + len(NAMES)
    edit(folder / "sounds" / NAMES[0])
    assert data_stamp(data, "fit") != first


def test_texts_and_missing_files_are_no_files(folder: Path) -> None:
    rows = [{"text": "x" * 5000}, {"text": "a\0b"}, {"text": "sounds"}, {"text": "sounds/none.wav"}, {"text": ""}]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = Data.model_validate({"dataset": str(folder / "rows.jsonl"), "columns": {"source": "text"}})
    assert [name for name, *_ in data_files(data, "fit")] == ["rows.jsonl"]


def test_data_of_the_zoo_are_known_by_their_content() -> None:
    columns = {"source": "input"}
    data = Data.model_validate({"dataset": "zoo:parabola", "columns": columns})
    assert "place" not in data_stamp(data, "fit")
    assert data_stamp(data, "fit")["files"]
