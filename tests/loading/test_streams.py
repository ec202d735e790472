"""Streaming recipes: the rows that are there without it, read no further than asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pandas
import pytest
from datasets import Audio, ClassLabel, Dataset

from hf_stitch.errors import DataError, RecipeError
from hf_stitch.loading.provenance import data_stamp
from hf_stitch.loading.tables import open_table
from hf_stitch.recipe.data import Data
from hf_stitch.recipe.recipe import Recipe

ROWS = [{"text": f"t{i}", "n": i, "x": i / 4, "day": "2026-01-02"} for i in range(1200)]


def asked(path: Path | str, **more: Any) -> Data:
    return Data.model_validate({"dataset": str(path), "columns": {"source": "text"}, **more})


def rows(path: Path | str, **more: Any) -> list[Any]:
    return list(open_table(asked(path, **more), "fit").rows)


def made(folder: Path, kind: str) -> Path:
    path = folder / f"a.{kind}"
    if kind == "jsonl":
        path.write_text("\n".join(map(json.dumps, ROWS)))
    elif kind == "csv":
        pandas.DataFrame(ROWS).to_csv(path, index=False, sep=";")
    else:
        Dataset.from_list(ROWS).to_parquet(path)
    return path


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_a_stream_holds_the_rows_that_are_there_without_it(tmp_path: Path, kind: str) -> None:
    path = made(tmp_path, kind)
    for samples in (7, 1100, 5000):
        assert rows(path, samples=samples, streaming=True) == rows(path)[:samples]
    for split in ("train", "train[5:9]", "train[1100:]"):
        assert rows(path, split=split, samples=6, streaming=True) == rows(path, split=split)[:6]
    table = open_table(asked(path, samples=5, streaming=True), "fit")
    assert table.folder == tmp_path
    assert table.rows.features == open_table(asked(path), "fit").rows.features


def test_nothing_behind_the_rows_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join([*map(json.dumps, ROWS[:50]), "this is no JSON"]))
    assert rows(path, samples=50, streaming=True) == ROWS[:50]
    with pytest.raises(DataError, match="line 51 is not JSON"):
        rows(path, samples=51, streaming=True)
    with pytest.raises(DataError, match="line 51 is not JSON"):
        rows(path, samples=50)
    path.write_bytes(b'{"text": "\xe4"}\n')
    with pytest.raises(DataError, match="not text in UTF-8"):
        rows(path, samples=1, streaming=True)
    path.write_text('\ufeff{"text": "a"}\r\n\r\n{"text": "b\\u2028c", "more": 1}')
    assert rows(path, samples=9, streaming=True) == [{"text": "a", "more": None}, {"text": "b\u2028c", "more": 1}]


def test_classes_and_sounds_of_a_file_stay_what_they_are(tmp_path: Path) -> None:
    given = Dataset.from_dict({"text": ["a", "b"], "label": [1, 0], "sound": [{"bytes": b"x", "path": None}] * 2})
    given = given.cast_column("label", ClassLabel(names=["no", "yes"])).cast_column("sound", Audio(decode=False))
    given.to_parquet(tmp_path / "a.parquet")
    table = open_table(asked(tmp_path / "a.parquet", samples=1, streaming=True), "fit")
    assert table.rows.features == {**given.features, "sound": Audio(decode=False)}
    assert table.rows[0] == given[0]


@pytest.mark.parametrize("split", [None, "train", "train[10:20]"])
def test_of_the_hub_no_more_is_asked_than_wanted(split: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    calls: list[dict[str, Any]] = []

    def endless() -> Any:
        while True:
            read.append(len(read))
            yield {"text": f"t{read[-1]}"}

    def load_dataset(place: str, name: str | None, **how: Any) -> Any:
        calls.append({"place": place, "name": name, **how})
        stream = datasets.IterableDataset.from_generator(endless)
        return stream if how["split"] else datasets.IterableDatasetDict({"train": stream})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    found = rows("me/texts:small", split=split, samples=4, revision="abc", streaming=True)
    first = 10 if split and "[" in split else 0
    assert [row["text"] for row in found] == [f"t{i}" for i in range(first, first + 4)]
    assert len(read) == first + 4
    wanted = "train" if split else None
    assert calls == [{"place": "me/texts", "name": "small", "split": wanted, "revision": "abc", "streaming": True}]


def test_folders_that_are_read_row_by_row_are_as_without_it(tmp_path: Path) -> None:
    datasets.DatasetDict(train=Dataset.from_list(ROWS[:9])).save_to_disk(tmp_path / "saved")
    assert rows(tmp_path / "saved", split="train[2:]", samples=3, streaming=True) == ROWS[2:9]
    for name in ("train", "test"):
        Dataset.from_list(ROWS[: 9 if name == "train" else 2]).to_parquet(tmp_path / "parts" / f"{name}.parquet")
    assert rows(tmp_path / "parts", split="test", samples=3, streaming=True) == ROWS[:2]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"split": "train[:80%]", "samples": 3}, r"does not know how many rows there are.*train\[1000:2000\]"),
        ({"split": "train[-5:]", "samples": 3}, "does not know how many rows"),
        ({"split": "train[5:2]", "samples": 3}, "does not know how many rows"),
        ({"split": "test", "samples": 3}, "is one file and has no split 'test'"),
        ({"split": "train[5000:6000]", "samples": 3}, "no rows"),
    ],
)
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_slices_that_a_stream_cannot_know_are_refused(
    tmp_path: Path, more: dict[str, Any], said: str, kind: str
) -> None:
    with pytest.raises(DataError, match=said):
        rows(made(tmp_path, kind), streaming=True, **more)
    with pytest.raises(DataError, match="no such file or folder"):
        rows(tmp_path / "gone.jsonl", samples=3, streaming=True)


def test_the_stamp_is_of_the_rows_alone(tmp_path: Path) -> None:
    path = made(tmp_path, "jsonl")
    data = asked(path, samples=5, streaming=True)
    before = data_stamp(data, "fit")
    with path.open("a") as file:
        file.write('\n{"text": "more"}')
    assert data_stamp(data, "fit") == before
    path.write_text(path.read_text().replace("t3", "u3"))
    assert data_stamp(data, "fit") != before
    assert "streaming" not in data_stamp(asked(path), "fit")["asked"]


def test_a_recipe_says_how_far(tmp_path: Path) -> None:
    ends = {"source": {"model": "a", "hook": "b"}, "target": {"model": "a", "hook": "b"}}
    fit = {"dataset": "me/texts", "columns": {"source": "text"}}
    plain = {**ends, "data": {"fit": fit}}
    with pytest.raises(RecipeError, match="streaming: reads no further than `samples` says; give samples"):
        Recipe.parse(plain, ["data.fit.streaming=true"])
    with pytest.raises(RecipeError, match=r"streaming: columns.neighbours may name any row"):
        Recipe.parse(plain, ["data.fit.streaming=true", "data.fit.samples=3", "data.fit.columns.neighbours=near"])
    told = Recipe.parse(plain, ["data.fit.samples=3", "data.fit.streaming=false"])
    assert told.fingerprint() == Recipe.parse(plain, ["data.fit.samples=3"]).fingerprint()
    assert "streaming" not in str(told.plain())
    assert Recipe.parse(plain, ["data.fit.samples=3", "data.fit.streaming=true"]).fingerprint() != told.fingerprint()
