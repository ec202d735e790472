"""Text of files: UTF-8 with or without a byte order mark, in lines that end by line feed or carriage return alone."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from threading import Lock
from typing import Any

from hf_stitch.errors import DataError


def decoded(content: bytes, name: str) -> str:
    """The text of a file's bytes.

    Raises:
        DataError: another encoding.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
        what = "it looks like UTF-16" if wide else f"byte {error.start} is 0x{content[error.start]:02x}"
        found = "utf-16" if wide else "cp1252"
        todo = f"save it as UTF-8, such as by iconv -f {found} -t utf-8"
        raise DataError(f"{name}: not text in UTF-8 ({what}); {todo}") from None


def lines_of(text: str) -> list[str]:
    """Its lines; `str.splitlines` ends them at eight more characters, which stand in texts."""
    return re.split(r"\r\n|\n|\r", text)


def delimiter(text: str) -> str:
    """What parts the cells of a CSV: a comma, or where the header has none outside of quotes a semicolon or a tab."""
    header = re.sub(r'"[^"]*"', "", lines_of(text.lstrip("\r\n"))[0])
    return next((one for one in (",", ";", "\t") if one in header), ",")


def row_of_line(line: str, number: int, path: Path) -> dict[str, Any]:
    """A line of JSON lines. DataError where it is no object."""
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: line {number} is not JSON ({error.msg}); expected one object a line") from None
    if not isinstance(row, dict):
        raise DataError(f"{path}: line {number} is a {type(row).__name__}; expected one object a line")
    return row


_limit = Lock()  # the csv module has one limit of a cell's length for the whole process


def short_row(text: str, delimiter: str) -> tuple[int, int] | None:
    """Of a CSV the first row with fewer cells than the header, as its number and theirs; pandas fills such rows up."""
    with _limit:
        before = csv.field_size_limit(max(len(text), csv.field_size_limit()))
        try:
            rows = (row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row)
            width = len(next(rows, ()))
            return next(((number, len(row)) for number, row in enumerate(rows, 1) if len(row) < width), None)
        except csv.Error:  # pandas has read it
            return None
        finally:
            csv.field_size_limit(before)
