from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from datasets import Audio, ClassLabel, Dataset, DatasetDict

from hf_stitch.errors import DataError, ZooError
from hf_stitch.loading.models import load_model
from hf_stitch.loading.processors import Preparer
from hf_stitch.loading.samples import Samples, load_samples
from hf_stitch.recipe.data import Data
from hf_stitch.recipe.side import Side

TEXTS = ["good film", "bad film", "great play", "boring play"]
LABELS = ["positive", "negative", "positive", "negative"]


def prepared(folder: Path) -> Preparer:
    side = Side(model=str(folder), hook="any")
    return Preparer.for_model(side, load_model(side))


@pytest.fixture
def speech(pico_wav2vec2: Path) -> Preparer:
    return prepared(pico_wav2vec2)


@pytest.fixture
def text(pico_xlnet: Path) -> Preparer:
    return prepared(pico_xlnet)


@pytest.fixture
def vector() -> Preparer:
    return Preparer("vector", "inputs", dtype=torch.float32)


def data(dataset: object, source: str = "audio", **more: object) -> Data:
    given = [key for key in ("target", "label", "text", "group", "id") if key in more]
    columns = {"source": source, **{key: more.pop(key) for key in given}}
    return Data.model_validate({"dataset": str(dataset), "columns": columns, **more})


def tone(i: int, rate: int = 16000) -> np.ndarray:
    return (0.5 * np.sin(0.05 * (i + 1) * np.arange(rate // 8))).astype(np.float32)


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Four files of sound at 16 and 8 kHz in a folder, and tables that name them."""
    folder = tmp_path / "sounds"
    for i, label in enumerate(LABELS):
        (folder / label).mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / label / f"{i}.wav", tone(i), 16000 if i else 8000)
    rows = [{"audio": f"{label}/{i}.wav", "text": TEXTS[i], "label": label} for i, label in enumerate(LABELS)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    lines = [",".join(row.values()) for row in rows]
    (folder / "rows.csv").write_text("\n".join(["audio,text,label", *lines]))
    return folder


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_tables_name_sounds_relative_to_themselves(sounds: Path, speech: Preparer, text: Preparer, kind: str) -> None:
    asked = data(sounds / f"rows.{kind}", target="text", label="label", text="text", group="label")
    samples = load_samples(asked, speech, text, "fit")
    assert len(samples) == 4
    assert samples.keys == ["0", "1", "2", "3"]
    assert [samples.target(i) for i in range(4)] == samples.texts == TEXTS
    assert samples.labels == [1, 0, 1, 0]
    assert samples.label_names == ["negative", "positive"]
    assert samples.groups == LABELS
    assert samples.source(1).dtype == np.float32
    assert np.abs(samples.source(1) - tone(1)).max() < 1e-4
    assert [*samples.remarks, *samples.decoding] == []
    for _ in range(2):
        assert len(samples.source(0)) == 4000
    assert samples.decoding == ["fit: 1 samples resampled from 8000 Hz to 16000 Hz"]


def test_the_other_direction_and_a_choice_of_samples(sounds: Path, speech: Preparer, text: Preparer) -> None:
    samples = load_samples(data(sounds / "rows.csv", target="text", label="label"), speech, text, "fit")
    back = samples.swapped()
    assert back.source(2) == TEXTS[2]
    assert np.array_equal(back.target(2), samples.source(2))
    some = samples.take([3, 1])
    assert (some.keys, some.labels, some.texts) == (["3", "1"], [0, 0], None)
    assert [some.target(i) for i in range(2)] == [TEXTS[3], TEXTS[1]]


def test_a_folder_of_sounds_has_labels_from_its_sub_folders(sounds: Path, speech: Preparer) -> None:
    samples = load_samples(data(sounds, label="label", id="file_name"), speech, speech, "fit")
    assert samples.keys == ["negative/1.wav", "negative/3.wav", "positive/0.wav", "positive/2.wav"]
    assert samples.labels == [0, 0, 1, 1]
    assert samples.label_names == ["negative", "positive"]
    assert np.array_equal(samples.source(0), samples.target(0))
    one = load_samples(data(sounds, split="positive"), speech, speech, "fit")
    assert len(one) == 2
    assert "label" not in one.table.rows.column_names


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_folder_of_sounds_with_metadata(sounds: Path, speech: Preparer, kind: str) -> None:
    rows = [{"file_name": "negative/1.wav", "mood": "low"}, {"file_name": "positive/2.wav", "mood": "high"}]
    table = ["file_name,mood", *(",".join(row.values()) for row in rows)]
    lines = [json.dumps(row) for row in rows] if kind == "jsonl" else table
    (sounds / f"metadata.{kind}").write_text("\n".join(lines))
    samples = load_samples(data(sounds, label="mood"), speech, speech, "fit")
    assert samples.label_names == ["high", "low"]
    assert np.abs(samples.source(1) - tone(2)).max() < 1e-4


@pytest.fixture
def bytes_in_rows(sounds: Path) -> Dataset:
    files = sorted(sounds.rglob("*.wav"), key=lambda path: path.name)
    columns = {"audio": [{"bytes": path.read_bytes(), "path": None} for path in files], "label": [1, 0, 1, 0]}
    made = Dataset.from_dict(columns).cast_column("audio", Audio(decode=False))
    return made.cast_column("label", ClassLabel(names=["negative", "positive"]))


def test_parquet_keeps_sound_undecoded(tmp_path: Path, bytes_in_rows: Dataset, speech: Preparer) -> None:
    folder = tmp_path / "splits"
    folder.mkdir()
    bytes_in_rows.cast_column("audio", Audio()).to_parquet(folder / "fit.parquet")
    bytes_in_rows.select([1, 2]).to_parquet(folder / "test.parquet")
    fit = load_samples(data(folder, split="fit", label="label"), speech, speech, "fit")
    assert fit.label_names == ["negative", "positive"]
    assert np.abs(fit.source(3) - tone(3)).max() < 1e-4
    assert len(load_samples(data(folder, split="test"), speech, speech, "test")) == 2
    assert len(load_samples(data(folder / "fit.parquet", split="train[1:3]"), speech, speech, "fit")) == 2
    with pytest.raises(DataError, match=r"several splits.*fit, test"):
        load_samples(data(folder), speech, speech, "fit")
    with pytest.raises(DataError, match="no split 'tests'; did you mean 'test'"):
        load_samples(data(folder, split="tests"), speech, speech, "fit")


def test_folders_of_save_to_disk(tmp_path: Path, bytes_in_rows: Dataset, speech: Preparer) -> None:
    bytes_in_rows.save_to_disk(tmp_path / "one")
    DatasetDict(train=bytes_in_rows, test=bytes_in_rows.select([0])).save_to_disk(tmp_path / "two")
    assert len(load_samples(data(tmp_path / "one"), speech, speech, "fit")) == 4
    assert len(load_samples(data(tmp_path / "two", split="test"), speech, speech, "fit")) == 1


def test_the_first_samples_and_slices(sounds: Path, text: Preparer) -> None:
    table = sounds / "rows.csv"
    assert len(load_samples(data(table, "text", samples=3), text, text, "fit")) == 3
    late = load_samples(data(table, "text", split="train[50%:]"), text, text, "fit")
    assert [late.source(i) for i in range(2)] == TEXTS[2:]
    few = load_samples(data(table, "text", samples=9), text, text, "validation")
    assert few.remarks == ["validation: 9 samples were asked for, 4 are there"]


def test_words_that_look_like_gaps_stay_text(tmp_path: Path, text: Preparer) -> None:
    (tmp_path / "a.csv").write_text("text\nNA\nnull\n")
    samples = load_samples(data(tmp_path / "a.csv", "text"), text, text, "fit")
    assert [samples.source(i) for i in range(2)] == ["NA", "null"]


def jsonl(path: Path, rows: list[dict]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def labelled(tmp_path: Path, values: list) -> Path:
    return jsonl(tmp_path / "labels.jsonl", [{"text": t, "label": v} for t, v in zip(TEXTS * 9, values)])


KINDS = {
    "numbers": ([0, 1, 1], [0, 1, 1], ["negative", "positive"]),
    "whole floats": ([0.0, 1.0], [0, 1], ["negative", "positive"]),
    "yes or no": ([True, False], [1, 0], ["negative", "positive"]),
    "names in any case": (["Positive", "NEGATIVE"], [1, 0], ["negative", "positive"]),
}


@pytest.mark.parametrize(("values", "labels", "names"), KINDS.values(), ids=KINDS.keys())
def test_labels_become_the_targets_classes(tmp_path: Path, text: Preparer, values, labels, names) -> None:
    samples = load_samples(data(labelled(tmp_path, values), "text", label="label"), text, text, "fit")
    assert samples.labels == labels
    assert samples.label_names == names


def test_a_target_without_class_names_takes_them_from_the_data(tmp_path: Path, text: Preparer) -> None:
    nameless = dataclasses.replace(text, label2id=None)
    asked = data(labelled(tmp_path, ["sad", "happy", "sad"]), "text", label="label")
    samples = load_samples(asked, text, nameless, "fit")
    assert (samples.labels, samples.label_names) == ([1, 0, 1], ["happy", "sad"])
    asked = data(labelled(tmp_path, [2, 0, 2]), "text", label="label")
    assert load_samples(asked, text, nameless, "fit").label_names == ["0", "1", "2"]


def test_classes_numbered_otherwise_are_matched_by_name(tmp_path: Path, text: Preparer) -> None:
    rows = Dataset.from_dict({"text": TEXTS, "label": [0, 1, 0, 1]})
    rows.cast_column("label", ClassLabel(names=["Positive", "Negative"])).to_parquet(tmp_path / "a.parquet")
    samples = load_samples(data(tmp_path / "a.parquet", "text", label="label"), text, text, "fit")
    assert samples.labels == [1, 0, 1, 0]


BAD_LABELS = {
    "one class": ([1, 1, 1], "all 3 samples are of one class, 'positive'"),
    "a gap": ([1, None, 0], "1 of 3 rows have no 'label'"),
    "no label": ([1, -1, 0], "holds -1, which marks rows without a label"),
    "too high": ([1, 0, 7], "holds 7, where the target's classes are 0 to 1"),
    "fractions": ([0.5, 1.5], "expected whole class numbers"),
    "unknown": (["positive", "negativ"], "no class 'negativ'; did you mean 'negative'"),
}


@pytest.mark.parametrize(("values", "message"), BAD_LABELS.values(), ids=BAD_LABELS.keys())
def test_useless_labels_are_refused(tmp_path: Path, text: Preparer, values: list, message: str) -> None:
    asked = data(labelled(tmp_path, values), "text", label="label")
    with pytest.raises(DataError, match=message):
        load_samples(asked, text, text, "fit")


def test_one_class_may_be_allowed(tmp_path: Path, text: Preparer) -> None:
    asked = data(labelled(tmp_path, [1, 1]), "text", label="label")
    assert load_samples(asked, text, text, "fit", check_labels=False).labels == [1, 1]


def test_vectors(tmp_path: Path, vector: Preparer) -> None:
    table = jsonl(tmp_path / "a.jsonl", [{"x": [1, 2.5], "y": 3.0}, {"x": [float("nan"), 0], "y": 1.0}])
    samples = load_samples(data(table, "x", target="y"), vector, vector, "fit")
    assert samples.source(0).tolist() == [1, 2.5]
    assert samples.target(0).tolist() == [3]
    with pytest.raises(DataError, match="fit sample '1': column 'x' has NaN"):
        samples.source(1)


BAD_SAMPLES = [
    ({"text": "  "}, "is blank"),
    ({"text": None}, "is empty"),
    ({"text": 7}, "expected text in column 'text'; got int"),
]


@pytest.mark.parametrize(("row", "message"), BAD_SAMPLES)
def test_useless_texts_are_refused_by_key(tmp_path: Path, text: Preparer, row: dict, message: str) -> None:
    samples = load_samples(data(jsonl(tmp_path / "a.jsonl", [row]), "text"), text, text, "test")
    with pytest.raises(DataError, match=rf"test sample '0': .*{message}"):
        samples.source(0)


def test_useless_sounds_and_numbers_are_refused_by_key(tmp_path: Path, speech: Preparer, vector: Preparer) -> None:
    (tmp_path / "a.wav").write_bytes(b"no sound")
    soundfile.write(tmp_path / "b.wav", tone(0)[:100], 16000)
    rows = [{"audio": "a.wav", "id": "first"}, {"audio": "b.wav", "id": "second"}, {"audio": "c.wav", "id": "third"}]
    asked = data(jsonl(tmp_path / "a.jsonl", rows), id="id")
    samples = load_samples(asked, speech, speech, "fit")
    for i, message in enumerate(("first.*not audio", "second.*too short", "third.*no such file")):
        with pytest.raises(DataError, match=message):
            samples.source(i)
    with pytest.raises(DataError, match="expected numbers in column 'audio'"):
        load_samples(asked, vector, vector, "fit").source(0)


def refused(asked: Data, source: Preparer, target: Preparer) -> str:
    with pytest.raises((DataError, ZooError)) as caught:
        load_samples(asked, source, target, "fit")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_missing_columns_name_the_nearest(sounds: Path, speech: Preparer, text: Preparer) -> None:
    table = sounds / "rows.csv"
    assert "columns.source: no column 'audoi'; did you mean 'audio'" in refused(data(table, "audoi"), speech, speech)
    assert "columns.label: no column" in refused(data(table, label="labels"), speech, speech)
    message = refused(data(table), speech, text)
    assert "columns.target is missing: the source takes audio, the target text; did you mean 'text'" in message


def test_ids_must_be_unique(sounds: Path, text: Preparer) -> None:
    assert "occurs 2 times in 'label'" in refused(data(sounds / "rows.csv", "text", id="label"), text, text)


def test_tables_that_cannot_be_read(tmp_path: Path, sounds: Path, text: Preparer) -> None:
    def written(name: str, content: str) -> Path:
        (tmp_path / name).write_text(content)
        return tmp_path / name

    (tmp_path / "bare").mkdir()
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "metadata.csv").write_text("file,mood\n")
    cases = {
        written("a.csv", ""): "empty file",
        written("b.csv", "text\n"): "has no rows",
        written("c.csv", "text,a\n1,2\n3,4,5,6\n"): "cannot be read",
        written("a.jsonl", "\n"): "empty file",
        written("b.jsonl", '{"text": "a"}\n{"text":'): "line 2 is not JSON",
        written("c.jsonl", "[1]"): "line 1 is a list",
        written("a.parquet", "PAR1"): "cannot be read",
        written("a.xlsx", "x"): "unknown kind of table '.xlsx'",
        tmp_path / "none.csv": "no such file or folder",
        tmp_path / "bare": "no sound files",
        tmp_path / "odd": "no column 'file_name'; did you mean 'file'",
    }
    for path, message in cases.items():
        assert message in refused(data(path, "text"), text, text)
    assert "nobody/nothing" in refused(data("nobody/nothing", "text", split="train"), text, text)
    assert "the zoo has no data set" in refused(data("zoo:nothing", "text"), text, text)


def test_splits_that_do_not_exist(sounds: Path, text: Preparer) -> None:
    assert "one file and has no split 'test'" in refused(data(sounds / "rows.csv", "text", split="test"), text, text)
    assert "has no split 'other'" in refused(data(sounds, "text", split="other"), text, text)
    for wrong in ("train[", "train[a:b]"):
        assert "such as train[:80%]" in refused(data(sounds / "rows.csv", "text", split=wrong), text, text)


def test_samples_is_what_load_samples_gives(sounds: Path, text: Preparer) -> None:
    assert isinstance(load_samples(data(sounds / "rows.csv", "text"), text, text, "fit"), Samples)
