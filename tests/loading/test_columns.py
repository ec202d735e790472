"""The classes of the data and those of the target are two lists: matched by name wherever names match."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset

from hf_stitch.errors import DataError
from hf_stitch.loading.processors import Preparer
from hf_stitch.loading.samples import Samples, load_samples
from hf_stitch.recipe.data import Data

THREE = {"anger": 0, "joy": 1, "fear": 2}


def target_with(names: dict[str, int] | None) -> Preparer:
    return dataclasses.replace(Preparer("vector", "inputs"), label2id=names)


def read(path: Path, names: dict[str, int] | None, source: dict[str, int] | None = None) -> Samples:
    columns = {"source": "x", "label": "label"}
    asked = Data.model_validate({"dataset": str(path), "columns": columns})
    return load_samples(asked, target_with(source), target_with(names), "fit")


def listed(folder: Path, names: list[str], numbers: list[int]) -> Path:
    """A table whose column of labels has a list of classes of its own."""
    rows = Dataset.from_dict({"x": [[1.0]] * len(numbers), "label": numbers})
    rows.cast_column("label", ClassLabel(names=names)).to_parquet(folder / "a.parquet")
    return folder / "a.parquet"


def csv(folder: Path, values: list[Any]) -> Path:
    (folder / "a.csv").write_text("\n".join(["x,label", *(f"1,{value}" for value in values)]))
    return folder / "a.csv"


def jsonl(folder: Path, values: list[Any]) -> Path:
    (folder / "a.jsonl").write_text("\n".join(json.dumps({"x": [1.0], "label": value}) for value in values))
    return folder / "a.jsonl"


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["joy", "fear", "anger"], [1, 2, 0]),
        (["Joy", "ANGER", "fear"], [1, 0, 2]),
        (["disgust", "joy", "anger", "fear"], [None, 1, 0, 2]),
        (["joy", "disgust", "surprise", "anger"], [1, None, None, 0]),
        (["joy", "anger"], [1, 0]),
    ],
    ids=["other order", "other case", "one more first", "two more between", "fewer"],
)
def test_two_lists_of_classes_meet_by_name(tmp_path: Path, names: list[str], labels: list[int | None]) -> None:
    kept = [number for number, label in enumerate(labels) if label is not None]
    samples = read(listed(tmp_path, names, kept), THREE)
    assert samples.labels == [label for label in labels if label is not None]
    assert samples.label_names == ["anger", "joy", "fear"]
    assert samples.remarks == []
    for number, label in enumerate(labels):
        if label is None:
            said = rf"no class '{names[number]}'; .*known: .*; rename the 2 rows of it or leave them out"
            with pytest.raises(DataError, match=said):
                read(listed(tmp_path, names, [*kept, number, number]), THREE)


NAMED = {
    "true and false": ({"True": 0, "False": 1}, [True, False, True], [0, 1, 0]),
    "in small letters": ({"true": 0, "false": 1}, [True, False, True], [0, 1, 0]),
    "stars": ({"1": 0, "2": 1, "3": 2}, [1, 3, 2], [0, 2, 1]),
    "in reverse": ({"2": 0, "1": 1, "0": 2}, [0, 2, 1], [2, 0, 1]),
    "with leading zeros": ({"01": 1, "02": 0}, [1, 2, 1], [1, 0, 1]),
    "below zero": ({"-1": 0, "0": 1, "1": 2}, [-1, 1, 0], [0, 2, 1]),
    "years": ({"1999": 0, "2004": 1}, [2004, 1999, 2004], [1, 0, 1]),
}


@pytest.mark.parametrize("table", [csv, jsonl])
@pytest.mark.parametrize(("names", "values", "labels"), NAMED.values(), ids=NAMED.keys())
def test_names_of_the_target_win_over_numbers(tmp_path: Path, table: Any, names: Any, values: Any, labels: Any) -> None:
    assert read(table(tmp_path, values), names).labels == labels


def test_floats_are_the_whole_numbers_that_they_are(tmp_path: Path) -> None:
    assert read(jsonl(tmp_path, [1.0, 3.0]), {"1": 0, "2": 1, "3": 2}).labels == [0, 2]


def test_numbers_of_which_some_are_names_are_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no class '0'; known: 1, 2, 3; rename the 1 rows of it or leave them out"):
        read(csv(tmp_path, [0, 1, 2]), {"1": 0, "2": 1, "3": 2})


def test_names_that_differ_by_case_alone_are_two_classes(tmp_path: Path) -> None:
    assert read(jsonl(tmp_path, ["us", "US", "us"]), {"us": 0, "US": 1}).labels == [0, 1, 0]
    with pytest.raises(DataError, match="no class 'Us'"):
        read(jsonl(tmp_path, ["us", "Us"]), {"us": 0, "US": 1})


def test_where_no_name_matches_the_order_is_told(tmp_path: Path) -> None:
    samples = read(listed(tmp_path, ["wut", "freude"], [0, 1, 0]), {"anger": 0, "joy": 1})
    assert samples.labels == [0, 1, 0]
    assert samples.remarks == [
        "fit: no class of the data is one of the target's by name; taken by number, wut as anger, freude as joy"
    ]
    booleans = read(csv(tmp_path, [True, False]), {"negative": 0, "positive": 1})
    assert booleans.labels == [1, 0]
    assert booleans.remarks == [
        "fit: no class of the data is one of the target's by name; taken by number, False as negative, True as positive"
    ]


def test_the_order_is_told_where_the_target_names_no_classes(tmp_path: Path) -> None:
    told = "fit: the target names no classes; those of the data are taken as"
    assert read(listed(tmp_path, ["wut", "freude"], [0, 1]), None).remarks == [f"{told} 0: wut, 1: freude"]
    strings = read(jsonl(tmp_path, ["wut", "freude"]), None)
    assert strings.labels == [1, 0]
    assert strings.remarks == [f"{told} 0: freude, 1: wut"]


def test_numbers_without_names_are_numbers(tmp_path: Path) -> None:
    for names in (THREE, None):
        samples = read(csv(tmp_path, [0, 2, 1]), names)
        assert (samples.labels, samples.remarks) == ([0, 2, 1], [])


@pytest.mark.parametrize("names", [["wut", "freude", "angst", "scham"], ["anger", "joy", "fear"]])
def test_rows_without_a_label_are_refused(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(DataError, match=r"holds -1, which marks rows without a label"):
        read(listed(tmp_path, names, [0, -1, 1]), THREE)


def test_more_classes_than_the_target_has_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds 3 \('scham'\), where the target's classes are 0 to 2; leave"):
        read(listed(tmp_path, ["wut", "freude", "angst", "scham"], [0, 1, 3]), THREE)


def test_the_way_back_reads_labels_by_the_other_model_s_list(tmp_path: Path) -> None:
    """What was the source is the target then, and may have its classes in another order."""
    path = jsonl(tmp_path, ["anger", "joy", "fear"])
    there = read(path, THREE, {"fear": 0, "anger": 1, "joy": 2})
    assert there.labels == [0, 1, 2]
    back = there.swapped()
    assert back.labels == [1, 2, 0]
    assert back.swapped().labels == [0, 1, 2]
    assert back.take([2]).labels == [0]
    assert there.take([2, 0]).swapped().labels == [0, 1]
    foreign = read(path, THREE, {"good": 0, "bad": 1}).swapped()
    assert foreign.labels is None
    assert [note for note in foreign.remarks if "on the way back answers are not compared with the labels" in note]
    assert read(path, THREE, None).swapped().labels == [0, 1, 2]
    assert read(csv(tmp_path, [0, 2]), THREE, {"x": 0, "y": 1, "z": 2}).swapped().labels == [0, 2]


@pytest.mark.parametrize(("values", "labels"), [(["b", "c", "a"], [1, 2, 0]), ([0, 2, 1], [0, 2, 1])])
def test_a_target_that_names_no_classes_has_all_that_it_tells_apart(
    tmp_path: Path, values: list[Any], labels: list[int]
) -> None:
    assert counted(jsonl(tmp_path, values), 3).labels == labels
    with pytest.raises(DataError, match=r"target"):
        counted(jsonl(tmp_path, values), 2)


def test_names_of_some_classes_have_no_numbers_where_the_target_names_none(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"names 2 of the target's 3 classes \(b, c\), which the target itself does not name"
    ):
        counted(jsonl(tmp_path, ["b", "c", "b"]), 3)
    assert counted(jsonl(tmp_path, [1, 2, 1]), 3).labels == [1, 2, 1]


def counted(path: Path, classes: int) -> Samples:
    asked = Data.model_validate({"dataset": str(path), "columns": {"source": "x", "label": "label"}})
    target = dataclasses.replace(target_with(None), classes=classes)
    return load_samples(asked, target_with(None), target, "fit")
