"""Tables as other programs write them: each row is read as it stands, or what to do is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from hf_stitch.errors import DataError
from hf_stitch.loading.processors import Preparer
from hf_stitch.loading.samples import Samples, load_samples
from hf_stitch.loading.tables import open_table
from hf_stitch.recipe.data import Data

SEPARATORS = ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e"]
"""What `str.splitlines` takes for the end of a line, beside line feed and carriage return."""


def read(path: Path, **more: Any) -> dict[str, list[Any]]:
    asked = Data.model_validate({"dataset": str(path), "columns": {"source": "text"}, **more})
    rows = open_table(asked, "fit").rows
    return {name: list(rows[name]) for name in rows.column_names}


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("odd", SEPARATORS)
@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_line_ends_where_it_ends(tmp_path: Path, odd: str, kind: str) -> None:
    texts = [f"one{odd}two", "three"]
    rows = [json.dumps({"text": text}, ensure_ascii=False) for text in texts]
    content = rows if kind == "jsonl" else ["text", *(f'"{text}"' for text in texts)]
    if kind == "jsonl" and odd in "\x0b\x0c\x1c\x1d\x1e":  # JSON wants these written as \u001c
        content = [json.dumps({"text": text}) for text in texts]
    assert read(written(tmp_path / f"a.{kind}", "\n".join(content)))["text"] == texts


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_byte_order_marks_and_other_line_ends(tmp_path: Path, kind: str, mark: str, end: str) -> None:
    lines = ['{"text": "ä", "n": 1}', '{"text": "b", "n": 2}'] if kind == "jsonl" else ["text,n", "ä,1", "b,2"]
    found = read(written(tmp_path / f"a.{kind}", mark + end.join(lines) + end))
    assert found == {"text": ["ä", "b"], "n": [1, 2]}


def test_keys_that_the_first_row_lacks(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"text": "a"}, {"text": "b", "label": "x"}, {"label": "y", "n": 3}]
    found = read(written(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows))))
    assert found == {"text": ["a", "b", None], "label": [None, "x", "y"], "n": [None, None, 3]}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_tables_of_spreadsheets(tmp_path: Path, delimiter: str) -> None:
    lines = [["text", "label"], ['"good, very; good"', "1"], ['"she said ""no"""', "0"]]
    found = read(written(tmp_path / "a.csv", "\r\n".join(map(delimiter.join, lines))))
    assert found == {"text": ["good, very; good", 'she said "no"'], "label": [1, 0]}


def test_one_column_that_holds_semicolons(tmp_path: Path) -> None:
    assert read(written(tmp_path / "a.csv", "text\na; b\nc\n"))["text"] == ["a; b", "c"]
    assert list(read(written(tmp_path / "b.csv", 'text,"a;b"\nc,d\n'))) == ["text", "a;b"]
    assert list(read(written(tmp_path / "c.csv", '"text, long";b\nc;d\n'))) == ["text, long", "b"]


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
@pytest.mark.parametrize(("encoding", "said"), [("cp1252", "UTF-8"), ("latin-1", "UTF-8"), ("utf-16", "UTF-16")])
def test_other_encodings_are_refused_with_what_to_do(tmp_path: Path, kind: str, encoding: str, said: str) -> None:
    text = '{"text": "schön"}' if kind == "jsonl" else "text\nschön\n"
    path = written(tmp_path / f"a.{kind}", text.encode(encoding))
    with pytest.raises(DataError, match=rf"a\.{kind}: .*{said}.*; save it as UTF-8, such as by iconv -f") as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_more_cells_than_columns_are_refused(tmp_path: Path) -> None:
    """pandas would take the first column for names of rows, and every cell would stand in the column before its own."""
    for content in ("text,label\na,1,\nb,0,\n", "text,label\nx,a,1\ny,b,0\n"):
        with pytest.raises(DataError, match=r"a\.csv: rows have 3 cells, the header names 2 columns; "):
            read(written(tmp_path / "a.csv", content))


def pictured(asked: Path, **columns: str) -> Samples:
    picture = Preparer("image", "pixel_values")
    data = Data.model_validate({"dataset": str(asked), "columns": {"source": "image", **columns}})
    return load_samples(data, picture, picture, "fit")


def test_a_folder_of_pictures_is_a_table_too(tmp_path: Path) -> None:
    for i, label in enumerate(("cat", "dog", "cat")):
        (tmp_path / label).mkdir(exist_ok=True)
        Image.new("RGB", (4, 3), (i, 0, 0)).save(tmp_path / label / f"{i}.png")
    samples = pictured(tmp_path, label="label", id="file_name")
    assert samples.keys == ["cat/0.png", "cat/2.png", "dog/1.png"]
    assert samples.labels == [0, 0, 1]
    assert samples.source(1).getpixel((0, 0)) == (2, 0, 0)
    rows = [{"file_name": "dog/1.png", "mood": "low"}, {"file_name": "cat/2.png", "mood": "high"}]
    written(tmp_path / "metadata.jsonl", "\n".join(map(json.dumps, rows)))
    assert pictured(tmp_path, label="mood").labels == [1, 0]


def test_a_picture_among_sounds_is_left_aside(tmp_path: Path) -> None:
    Image.new("RGB", (4, 3)).save(tmp_path / "cover.png")
    soundfile.write(tmp_path / "a.wav", np.ones(9), 16000)
    asked = Data.model_validate({"dataset": str(tmp_path), "columns": {"source": "audio"}})
    assert list(open_table(asked, "fit").rows["audio"]) == ["a.wav"]
