"""Faults in files of sounds and tables, tried by machine: read as they stand, or refused in one line."""

from __future__ import annotations

import csv
import io
import json
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from faults import damaged, draws

from hf_stitch.errors import DataError
from hf_stitch.loading.audio import read_audio
from hf_stitch.loading.tables import open_table
from hf_stitch.recipe.data import Data

RATE = 16_000
SOUND = np.random.default_rng(0).uniform(-0.5, 0.5, 6000)
FORMS = {"wav": "PCM_16", "flac": "PCM_16", "ogg": "VORBIS", "aiff": "PCM_16", "mp3": "MPEG_LAYER_III", "au": "PCM_16"}
CHECKED = ("flac", "ogg")
"""Formats with checksums, in which no fault may change what is heard."""


def sound_file(form: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, SOUND, RATE, format=form.upper(), subtype=FORMS[form])
    return file.getvalue()


def faulty(form: str, content: bytes, draw: Any) -> tuple[str, bytes]:
    """Half of the faults in the header, which says most in few bytes."""
    header = 64 if form != "ogg" else 4000
    if draw.random() < 0.5:
        how, made = damaged(draw, content[:header])
        return f"header, {how}", made + content[header:]
    return damaged(draw, content)


def heard_otherwise(content: bytes, samples: np.ndarray, rate: int = RATE) -> bool:
    """Of a WAV of 16 bits whether it is read other than Python's own module reads it."""
    try:
        with wave.open(io.BytesIO(content)) as file:
            if (file.getsampwidth(), file.getnchannels(), file.getframerate()) != (2, 1, rate):
                return False
            wanted = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 2**15
    except (wave.Error, EOFError):
        return False
    return len(wanted) != len(samples) or bool(np.abs(wanted - samples).max() > 1e-4)


def read_or_told(read: Callable[[], Any], what: str) -> Any:
    """What is read; None where that is refused, in one line."""
    try:
        return read()
    except DataError as error:
        told = str(error)
    assert len(told.splitlines()) == 1, f"{what}: {told}"
    return None


@pytest.mark.parametrize("form", FORMS)
def test_faults_in_sounds(form: str) -> None:
    content, draw = sound_file(form), draws(f"sound {form}")
    right = read_audio(content, RATE).samples
    refused = 0
    for attempt in range(60):
        how, made = faulty(form, content, draw)
        samples = read_or_told(lambda made=made: read_audio(made, RATE).samples, f"{attempt}: {how}")
        refused += samples is None
        same = samples is not None and np.array_equal(samples, right)
        assert same or samples is None or form not in CHECKED, f"{attempt}: {how}"
        if form == "wav" and samples is not None and not same:
            assert not heard_otherwise(made, samples), f"{attempt}: {how}"
    assert refused > 3


@pytest.mark.parametrize("form", [form for form in FORMS if form != "mp3"])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_cut_sound_is_refused(form: str, share: float) -> None:
    content = sound_file(form)
    with pytest.raises(DataError, match=r"damaged|not audio"):
        read_audio(content[: int(share * len(content))], RATE)


@pytest.mark.parametrize("rate", [1, 7, 49, 1_000_001, 2**31 - 1, 2**32 - 1])
def test_extreme_rates_are_refused(rate: int) -> None:
    content = bytearray(sound_file("wav"))
    content[24:28] = rate.to_bytes(4, "little")
    for given in (bytes(content), {"array": SOUND, "sampling_rate": rate}):
        with pytest.raises(DataError, match=r"samples a second; expected a rate from|not audio"):
            read_audio(given, RATE)


def test_sounds_of_a_stream_say_no_length() -> None:
    """ffmpeg writes the largest size where it does not know one."""
    content = bytearray(sound_file("wav"))
    content[40:44] = b"\xff\xff\xff\xff"
    assert len(read_audio(bytes(content), RATE).samples) == len(SOUND)


# tables

ROWS: list[dict[str, Any]] = [
    {"text": text, "label": i % 2, "id": f"s{i:02d}", "score": i / 4}
    for i, text in enumerate(["plain", "ünï", 'she said "no"', "a, b; c", "two\nlines", "x" * 40, "日本", "'", "end"])
]


def as_jsonl() -> bytes:
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS).encode()


def as_csv(separator: str = ",") -> bytes:
    file = io.StringIO(newline="")
    written = csv.DictWriter(file, list(ROWS[0]), delimiter=separator)
    written.writeheader()
    written.writerows(ROWS)
    return file.getvalue().encode()


def as_parquet() -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), file, write_page_checksum=True)
    return file.getvalue()


TABLES: dict[str, Callable[[], bytes]] = {
    "jsonl": as_jsonl, "csv": as_csv, "semicolons.csv": lambda: as_csv(";"), "tabs.csv": lambda: as_csv("\t"),
    "parquet": as_parquet,
}  # fmt: skip


def by_json(content: bytes, name: str) -> list[dict[str, Any]]:
    lines = content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return [json.loads(line) for line in lines if line.strip()]


def by_csv(content: bytes, name: str) -> list[dict[str, Any]]:
    separator = {"semicolons.csv": ";", "tabs.csv": "\t"}.get(name, ",")
    lines = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=separator)
    head, *rows = [row for row in lines if row]
    assert all(len(row) == len(head) for row in rows), "a row with more or fewer cells"
    return [dict(zip(head, row)) for row in rows]


def by_parquet(content: bytes, name: str) -> list[dict[str, Any]]:
    return [dict(zip(pq.read_schema(io.BytesIO(content)).names, row.values())) for row in ROWS]


def rows_of(table: Any) -> list[dict[str, Any]]:
    names = table.column_names
    return [dict(zip(names, cells)) for cells in zip(*(list(table[name]) for name in names))]


def plain(value: Any) -> Any:
    """A cell as text, since CSV has no other: numbers and booleans as they are usually written."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return str(value)


@pytest.mark.parametrize("name", TABLES)
def test_faults_in_tables(name: str, tmp_path: Path) -> None:
    """What is read is what another reader finds there."""
    content, draw, kind = TABLES[name](), draws(f"table {name}"), name.split(".")[-1]
    other = {"jsonl": by_json, "csv": by_csv, "parquet": by_parquet}[kind]
    path = tmp_path / f"table.{kind}"
    asked = Data.model_validate({"dataset": str(path), "columns": {"source": "text"}})
    refused = 0
    for attempt in range(100):
        how, made = damaged(draw, content)
        path.write_bytes(made)
        found = read_or_told(lambda: rows_of(open_table(asked, "fit").rows), f"{attempt}: {how}")
        refused += found is None
        if found is None:
            continue
        wanted = other(made, name)
        assert len(found) == len(wanted), f"{attempt}: {how}"
        for row, right in zip(found, wanted):
            told = {key: plain(value) for key, value in row.items() if value is not None}
            assert told == {key: plain(value) for key, value in right.items() if value is not None}, f"{attempt}: {how}"
    assert refused > 5
