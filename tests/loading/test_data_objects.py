"""Data sets in memory and as streams: the same rows whatever holds them, read once, and no further than asked for."""

from __future__ import annotations

import dataclasses
import io
from collections import namedtuple
from collections.abc import Callable, Iterator
from typing import Any

import datasets
import numpy as np
import pandas
import pytest
import soundfile
import torch
from datasets import Audio, ClassLabel, Dataset, Features, IterableDataset, Value
from PIL import Image
from torch.utils import data as torch_data

from hf_stitch.errors import DataError
from hf_stitch.loading.audio import read_audio
from hf_stitch.loading.data_objects import rows_of, splits_of
from hf_stitch.loading.images import read_picture
from hf_stitch.loading.object_rows import MOST

ROWS: list[dict[str, Any]] = [{"text": f"t{i}", "label": i % 3, "x": [i / 4, -1.5]} for i in range(9)]
COLUMNS = {key: [row[key] for row in ROWS] for key in ROWS[0]}


def generated() -> Iterator[dict[str, Any]]:
    yield from ROWS


class Mapped(torch_data.Dataset):
    def __init__(self, rows: list[Any] = ROWS) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> Any:
        return self.rows[i]


class Unsized(torch_data.Dataset):
    def __getitem__(self, i: int) -> Any:
        return ROWS[i]


class Iterated(torch_data.IterableDataset):
    def __iter__(self) -> Iterator[Any]:
        return generated()


@dataclasses.dataclass
class Row:
    text: str
    label: int
    x: list[float]


Tuple = namedtuple("Tuple", ["text", "label", "x"])
HOLDERS: dict[str, Callable[[], Any]] = {
    "list of dicts": lambda: ROWS,
    "tuple of dicts": lambda: tuple(ROWS),
    "dict of columns": lambda: COLUMNS,
    "dict of arrays": lambda: {**COLUMNS, "label": np.array(COLUMNS["label"]), "x": torch.tensor(COLUMNS["x"])},
    "DataFrame": lambda: pandas.DataFrame(COLUMNS),
    "DataFrame with a named index": lambda: pandas.DataFrame(COLUMNS).set_index("text"),
    "DataFrame of categories": lambda: pandas.DataFrame(COLUMNS).astype({"text": "category", "label": "Int64"}),
    "generator function": lambda: generated,
    "generator": generated,
    "Dataset": lambda: Dataset.from_dict(COLUMNS),
    "Dataset with a format": lambda: Dataset.from_dict(COLUMNS).with_format("torch", columns=["label"]),
    "Dataset in another order": lambda: Dataset.from_list(ROWS[::-1]).select(range(8, -1, -1)),
    "Dataset with a transform": lambda: Dataset.from_dict({"i": range(9)}).with_transform(
        lambda batch: {key: [ROWS[i][key] for i in batch["i"]] for key in ROWS[0]}
    ),
    "IterableDataset": lambda: IterableDataset.from_generator(generated),
    "IterableDataset with features": lambda: Dataset.from_dict(COLUMNS).to_iterable_dataset(num_shards=3),
    "filtered stream": lambda: IterableDataset.from_generator(lambda: iter([*ROWS, {**ROWS[0], "label": 9}])).filter(
        lambda row: row["label"] < 9
    ),
    "torch Dataset": Mapped,
    "torch Dataset without a length": Unsized,
    "torch Subset": lambda: torch_data.Subset(Mapped([{}, *ROWS]), range(1, 10)),
    "torch IterableDataset": Iterated,
    "torch Dataset of dataclasses": lambda: Mapped([Row(**row) for row in ROWS]),
    "torch Dataset of named tuples": lambda: Mapped([Tuple(**row) for row in ROWS]),
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_the_same_rows_whatever_holds_them(holder: str) -> None:
    found = rows_of(HOLDERS[holder](), "fit")
    assert isinstance(found, Dataset)
    assert [{key: row[key] for key in ROWS[0]} for row in found] == ROWS
    assert list(rows_of(HOLDERS[holder](), "fit", samples=4)["text"]) == COLUMNS["text"][:4]
    assert len(rows_of(HOLDERS[holder](), "fit", samples=99)) == 9


@pytest.mark.parametrize("pair", [tuple, list])
def test_input_and_label_become_columns(pair: Any) -> None:
    found = rows_of(Mapped([pair(["a", 1]), pair(["b", 0])]), "fit")
    assert found[:] == {"input": ["a", "b"], "label": [1, 0]}
    numbers = torch.arange(6.0).reshape(3, 2)
    tensors = rows_of(torch_data.TensorDataset(numbers, torch.tensor([0, 1, 1])), "fit")
    assert torch.equal(torch.tensor(tensors["input"][:]), numbers)
    assert list(tensors["label"]) == [0, 1, 1]


def test_keys_and_widths_may_differ_between_rows_however_late() -> None:
    rows = [{"a": i, "b": None} for i in range(1200)] + [{"a": 0.5, "late": "x", "b": [1.0]}]
    found = rows_of(rows, "fit")
    assert found[-1] == {"a": 0.5, "late": "x", "b": [1.0]}
    assert found[3] == {"a": 3.0, "late": None, "b": None}
    assert len(found) == 1201


def test_a_stream_is_read_no_further_than_asked_for() -> None:
    asked: list[int] = []

    def endless() -> Iterator[dict[str, Any]]:
        while True:
            asked.append(len(asked))
            yield {"i": asked[-1]}

    for stream in (endless, IterableDataset.from_generator(endless)):
        asked.clear()
        assert list(rows_of(stream, "fit", samples=5)["i"]) == [0, 1, 2, 3, 4]
        assert len(asked) == 5
    shuffled = IterableDataset.from_generator(endless).shuffle(seed=3, buffer_size=8)
    assert len(rows_of(shuffled, "fit", samples=5)) == 5
    asked.clear()
    with pytest.raises(DataError, match=r"data\.fit: a stream of more than 100,000 rows.*take\(1000\)"):
        rows_of(endless, "fit")
    assert len(asked) == MOST + 1
    asked.clear()
    with pytest.raises(DataError, match=r"data\.test: a stream without end.*take\(1000\)"):
        rows_of(IterableDataset.from_generator(endless).repeat(None).filter(bool), "test")
    assert not asked


def test_classes_sounds_and_pictures_of_a_stream_are_as_they_were() -> None:
    wave = io.BytesIO()
    soundfile.write(wave, 0.1 * np.random.default_rng(0).normal(size=800), 8000, format="WAV")
    jpeg = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (9, 9, 3), np.uint8)).save(jpeg, format="JPEG")
    features = Features(audio=Audio(), image=datasets.Image(), label=ClassLabel(names=["no", "yes"]), n=Value("int8"))
    content = {"audio": [{"bytes": wave.getvalue(), "path": None}], "image": [{"bytes": jpeg.getvalue(), "path": None}]}
    given = Dataset.from_dict({**content, "label": [1], "n": [7]}).cast(features)
    for rows in (rows_of(given, "fit"), rows_of(given.to_iterable_dataset(), "fit")):
        assert rows.features == {**features, "audio": Audio(decode=False)}
        assert rows[0]["audio"]["bytes"] == wave.getvalue()
        assert rows[0]["image"] == Image.open(jpeg)
        assert rows[0]["label"] == 1


RNG = np.random.default_rng(1)
PICTURES = {
    "RGB": Image.fromarray(RNG.integers(0, 255, (6, 5, 3), np.uint8)),
    "grey": Image.fromarray(RNG.integers(0, 255, (6, 5), np.uint8)),
    "palette": Image.fromarray(RNG.integers(0, 255, (6, 5, 3), np.uint8)).quantize(9),
    "clear": Image.fromarray(RNG.integers(0, 255, (6, 5, 4), np.uint8)),
    "CMYK": Image.fromarray(RNG.integers(0, 255, (6, 5, 3), np.uint8)).convert("CMYK"),
    "16 bits": Image.fromarray(RNG.integers(0, 65535, (6, 5)).astype(np.uint16)),
    "array": RNG.integers(0, 255, (6, 5, 3), np.uint8),
    "grey array": RNG.integers(0, 255, (6, 5), np.uint8),
    "array of 16 bits": RNG.integers(0, 65535, (6, 5)).astype(np.uint16),
    "tensor": torch.from_numpy(RNG.integers(0, 255, (6, 5, 3), np.uint8)),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture_is_the_same_picture_in_a_row(kind: str) -> None:
    [row] = rows_of([{"picture": PICTURES[kind]}], "fit")
    expected = read_picture(np.asarray(PICTURES[kind]) if kind == "tensor" else PICTURES[kind])
    assert np.array_equal(np.asarray(read_picture(row["picture"])), np.asarray(expected))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "int32", "uint8", "int8"])
@pytest.mark.parametrize("shape", [(400,), (2, 400)])
def test_a_sound_is_the_same_sound_in_a_row(dtype: str, shape: tuple[int, ...]) -> None:
    wave = RNG.uniform(-0.5, 0.5, shape)
    if dtype[0] in "iu":
        info = np.iinfo(dtype)
        wave = wave * info.max if info.min else 128 + 100 * wave
    given = {"array": wave.astype(dtype), "sampling_rate": 8000}
    [row] = rows_of([{"sound": given}], "fit")
    assert np.allclose(read_audio(row["sound"], 8000).samples, read_audio(given, 8000).samples, atol=1e-7)


@pytest.mark.parametrize("value", [np.float32(1.5), torch.tensor(1.5), np.array(1.5), torch.tensor(1.5).bfloat16()])
def test_numbers_of_all_libraries_are_numbers(value: Any) -> None:
    assert rows_of([{"x": value}], "fit")[0] == {"x": 1.5}
    many = np.asarray(value.float() if isinstance(value, torch.Tensor) else value) * np.ones(3)
    assert rows_of([{"x": torch.from_numpy(many).bfloat16()}, {"x": [1, 2]}], "fit")[0] == {"x": [1.5, 1.5, 1.5]}


class Failing(Mapped):
    def __getitem__(self, i: int) -> Any:
        if i == 2:
            raise OSError("the disk is gone")
        return self.rows[i]


def failing() -> Iterator[dict[str, Any]]:
    yield {"a": 1}
    raise ValueError("no more")


REFUSED: dict[str, tuple[Any, str]] = {
    "text": ("data.jsonl", r"got a str; expected a datasets\.Dataset"),
    "number": (3, "got an int; expected"),
    "nothing": (None, "got a NoneType; expected"),
    "empty list": ([], "no rows"),
    "empty dict": ({}, "an empty dict"),
    "empty columns": ({"a": []}, "no rows"),
    "empty Dataset": (Dataset.from_dict({"a": []}), "no rows"),
    "empty stream": (lambda: iter([]), "no rows"),
    "empty frame": (pandas.DataFrame({"a": []}), "no rows"),
    "texts": (["a", "b"], r"row 0 is a str; expected a dict, or \(input, label\)"),
    "tensors": (Mapped([torch.ones(2)]), r"row 0 is a torch\.Tensor; expected a dict"),
    "one of one": (torch_data.TensorDataset(torch.ones(2, 2)), "row 0 is a tuple of 1; expected a dict"),
    "later row": ([{"a": 1}, None], "row 1 is a NoneType"),
    "batches": (torch_data.DataLoader([1]), r"a DataLoader gives batches; give its dataset"),
    "splits": (datasets.DatasetDict(train=Dataset.from_dict({"a": [1]})), "with 'train'; give one of its splits"),
    "lengths": ({"a": [1], "b": [1, 2]}, r"different lengths \('a' 1, 'b' 2\)"),
    "a text for a column": ({"a": "xyz"}, "column 'a' is a str; expected a list"),
    "failing row": (Failing(), r"row 2 cannot be read \(OSError: the disk is gone\)"),
    "failing generator": (failing, r"row 1 cannot be read \(ValueError: no more\)"),
    "failing stream": (IterableDataset.from_generator(failing), r"row 1 cannot be read"),
    "arguments": (lambda x: iter(x), "the generator function cannot be called without arguments"),
    "no generator": (lambda: 3, "the function gave an int; expected one that yields dicts"),
    "two kinds": ([{"a": 1}, {"a": "x"}], r"column 'a' holds whole numbers \(row 0\) and text \(row 1\)"),
    "two kinds, late": ([{"a": 1}] * 1000 + [{"a": "x"}], "data.fit: .*a.*give each column values of one kind"),
    "a set": ([{"a": 1}, {"a": {1}}], "row 1, column 'a': a set, which no table holds"),
    "complex": ([{"a": np.ones(2, complex)}], "row 0, column 'a': an array of complex128"),
    "same names": (pandas.DataFrame([[1, 2]], columns=["a", "a"]), "several columns 'a'; rename"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_data_is_refused_with_what_to_do(case: str) -> None:
    given, said = REFUSED[case]
    with pytest.raises(DataError, match=said) as found:
        rows_of(given, "fit")
    assert str(found.value).startswith("data.fit: ")


@pytest.mark.parametrize("samples", [0, -1, True, 2.5, "3"])
def test_samples_is_a_count(samples: Any) -> None:
    with pytest.raises(DataError, match="samples is a count of rows from 1 on"):
        rows_of(ROWS, "fit", samples)


def test_rows_last_when_what_they_came_from_is_gone() -> None:
    texts = list(rows_of([{"text": f"{i}"} for i in range(50)], "fit").shuffle(seed=1).select(range(20))["text"])
    assert len(set(texts)) == 20


ONE = Dataset.from_dict({"a": [1, 2]})
NAMES = [
    {"fit": "fit", "valid": "validation", "test": "test"},
    {"train": "fit", "dev": "validation"},
    {"Train": "fit", "VALIDATION": "validation"},
    {"training": "fit", "val": "validation", "testing": "test"},
]


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("make", [dict, datasets.DatasetDict])
def test_splits_by_their_names(names: dict[str, str], make: Any) -> None:
    given = {name: Dataset.from_dict({"a": [i]}) for i, name in enumerate(names)}
    found = splits_of(make(given))
    assert {split: rows["a"][0] for split, rows in found.items()} == {one: i for i, one in enumerate(names.values())}
    assert found.notes == ()


@pytest.mark.parametrize(
    "one",
    [ROWS, COLUMNS, pandas.DataFrame(COLUMNS), generated, Mapped(), Dataset.from_list(ROWS), {"train": ROWS},
     datasets.DatasetDict(train=Dataset.from_list(ROWS)), IterableDataset.from_generator(generated)],
)  # fmt: skip
def test_one_set_is_divided_and_that_is_told(one: Any) -> None:
    found = splits_of(one)
    assert list(found["fit"]["text"]) == COLUMNS["text"][:7]
    assert list(found["test"]["text"]) == COLUMNS["text"][7:]
    [note] = found.notes
    assert "one set of 9 rows was given: the first 7 are the fit, the last 2 the test" in note


def test_columns_are_no_splits() -> None:
    given = Dataset.from_dict({"text": ["a"] * 5, "label": [1] * 5, "x": [[0.5]] * 5})
    columns = {"text": given["text"], "label": np.array(given["label"]), "x": torch.tensor(given["x"][:])}
    for one in (columns, {**columns, "text": pandas.Series(given["text"])}, {**columns, "test": ("b",) * 5}):
        assert list(splits_of(one)["fit"]["text"]) == ["a"] * 4
    mixed = splits_of({"train": generated, "validation": iter(ROWS), "test": Mapped()})
    assert [len(rows_of(mixed[name], name)) for name in ("fit", "validation", "test")] == [9, 9, 9]


def test_a_column_of_mappings_is_no_split() -> None:
    sound = {"array": np.ones(4), "sampling_rate": 8000}
    found = splits_of({"audio": [sound] * 5, "words": [{"w": "a"}] * 5})
    assert found["fit"].column_names == ["audio", "words"]


def test_splits_of_other_names_of_published_data_are_left_out_and_told() -> None:
    found = splits_of(datasets.DatasetDict(train=ONE, test=ONE, unsupervised=ONE))
    assert set(found) == {"fit", "test"}
    assert found.notes == ("splits 'unsupervised' are left out",)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"trian": ONE, "test": ONE}, "unknown split 'trian'; did you mean 'train'"),
        (datasets.DatasetDict(train=ONE, tset=ONE), "unknown split 'tset'; did you mean 'test'"),
        ({"train": ROWS, "other": ROWS}, "unknown split 'other'"),
        ({"train": ONE, "fit": ONE}, "'train' and 'fit' both name what is fit"),
        ({"train": ONE, "dev": ONE, "validation": ONE}, "both name what is validation"),
        ({"test": ONE, "validation": ONE}, "no split to fit on"),
        ([{"a": 1}], "one row cannot be both fit and test"),
        (3, "got an int; expected"),
    ],
)
def test_splits_that_are_none_are_refused(given: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        splits_of(given)
