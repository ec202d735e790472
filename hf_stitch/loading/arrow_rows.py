"""Rows as they come, written to an Arrow file by datasets' own writer: memory does not grow with their number."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_stitch.errors import DataError, StitchError
from hf_stitch.loading.cells import Picture, cell_of, first_line
from hf_stitch.runtime.files import report_full_disk

if TYPE_CHECKING:
    from datasets import Dataset, Features

ROWS, BYTES = 1000, 32 * 2**20
"""A batch that is written at once, whichever is reached first; by hand."""
_KINDS = {str: "text", bytes: "bytes", bool: "truth values", int: "whole numbers", float: "numbers", dict: "mappings",
          list: "lists", np.ndarray: "arrays"}  # fmt: skip


def written(rows: Iterable[Mapping[Any, Any]], where: str, features: Features | None = None) -> Dataset:
    """The rows as a dataset in a file that lasts as long as this process; keys that a row lacks are None there.

    Args:
        where: what to call the rows in errors. features: of the columns, where they are known.

    Raises:
        DataError: no rows, or a cell that a table cannot hold, with the number of its row.
    """
    return joined((_table(batch, start, where, features) for start, batch in _batches(rows, where)), where)


def joined(tables: Iterable[Dataset], where: str) -> Dataset:
    """Tables one after the other, each of which fits into memory, as one dataset in such a file."""
    from datasets import Dataset
    from datasets.arrow_writer import ArrowWriter

    full = DataError(f"{where}: no space left in {tempfile.gettempdir()}; free some, or set TMPDIR to a larger disk")
    with report_full_disk(full), tempfile.TemporaryDirectory(dir=_scratch()) as scratch:
        parts: list[tuple[Path, Features]] = []
        writer: Any = None
        for table in tables:
            if writer is None or table.features != parts[-1][1]:
                if writer is not None:
                    writer.finalize()
                parts.append((Path(scratch) / f"{len(parts)}.arrow", table.features))
                writer = ArrowWriter(path=str(parts[-1][0]), features=table.features)
            writer.write_table(table.with_format("arrow")[:])
        if writer is None:
            raise DataError(f"{where}: no rows; expected at least one sample")
        writer.finalize()
        file = parts[0][0] if len(parts) == 1 else _of_one_kind(parts, Path(scratch) / "whole.arrow", where)
        with file.open("rb") as content:
            name = hashlib.file_digest(content, "sha256").hexdigest()[:24]
        # By content: whoever stamps the rows by their file finds the same rows in the next process.
        place = _scratch() / name / "rows.arrow"
        place.parent.mkdir(exist_ok=True)
        os.replace(file, place)
    return Dataset.from_file(str(place))


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Deleted when the process ends."""
    return tempfile.TemporaryDirectory(prefix="hf_stitch-rows-", ignore_cleanup_errors=True)


def _scratch() -> Path:
    return Path(_folder().name)


def _of_one_kind(parts: Sequence[tuple[Path, Features]], place: Path, where: str) -> Path:
    """Parts whose rows differ in their columns or in the width of their numbers, as one file."""
    import pyarrow as pa
    from datasets import Dataset, Features
    from datasets.arrow_writer import ArrowWriter

    plain = [features.arrow_schema.remove_metadata() for _, features in parts]
    try:
        schema = pa.unify_schemas(plain, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(f"{where}: {first_line(error)}; give each column values of one kind") from None
    special = {name: one for _, features in parts for name, one in features.items() if type(one).__name__ == "Image"}
    features = Features({**Features.from_arrow_schema(schema), **special})
    writer = ArrowWriter(path=str(place), features=features)
    for path, _ in parts:
        rows = Dataset.from_file(str(path))
        for start in range(0, len(rows), ROWS):
            table = rows.with_format("arrow")[start : start + ROWS]
            columns = [
                table[one.name].cast(one.type) if one.name in table.column_names else pa.nulls(len(table), one.type)
                for one in schema
            ]
            writer.write_table(pa.table(columns, schema=schema))
    writer.finalize()
    return place


def _batches(rows: Iterable[Mapping[Any, Any]], where: str) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Rows with plain cells in batches, each with the number of its first row."""
    batch: list[dict[str, Any]] = []
    start = size = 0
    for number, row in enumerate(rows):
        cells = {}
        for key, value in row.items():
            try:
                cells[str(key)] = cell_of(value)
            except StitchError as error:
                raise DataError(f"{where}: row {number}, column {str(key)!r}: {error}") from None
        batch.append(cells)
        size += sum(map(_size, cells.values()))
        if len(batch) == ROWS or size > BYTES:
            yield start, batch
            start, batch, size = number + 1, [], 0
    if batch:
        yield start, batch


def _size(cell: Any) -> int:
    if isinstance(cell, np.ndarray):
        return cell.nbytes
    if isinstance(cell, dict):
        return sum(map(_size, cell.values()))
    return len(cell) if isinstance(cell, str | bytes) else 8 * len(cell) if isinstance(cell, list) else 8


def _table(batch: Sequence[Mapping[str, Any]], start: int, where: str, features: Features | None) -> Dataset:
    from datasets import Audio, Dataset, Features, Image, Value

    names = list(features) if features is not None else list(dict.fromkeys(key for row in batch for key in row))
    columns = {name: _even([row.get(name) for row in batch]) for name in names}
    # datasets encodes sounds by torchcodec alone; these are bytes and paths already.
    plain = {"bytes": Value("binary"), "path": Value("string")}
    sounds = {name: one for name, one in (features or {}).items() if isinstance(one, Audio)}
    known = None if features is None else Features({**features, **dict.fromkeys(sounds, plain)})
    try:
        table = Dataset.from_dict(columns, features=known)
    except Exception:  # pyarrow's and datasets' own, which name neither column nor row
        for name, cells in columns.items():
            _check_alike(name, cells, start, where, None if known is None else known[name])
        raise
    for name, sound in sounds.items():
        table = table.cast_column(name, sound)
    for name, cells in columns.items():
        present = [cell for cell in cells if cell is not None]
        if features is None and present and all(isinstance(cell, Picture) for cell in present):
            table = table.cast_column(name, Image())
    return table


def _even(cells: list[Any]) -> list[Any]:
    """Arrays of one column in one dtype, which pyarrow wants."""
    arrays = [cell for cell in cells if isinstance(cell, np.ndarray)]
    if not arrays or not all(cell is None or isinstance(cell, np.ndarray | list) for cell in cells):
        return cells
    try:
        lists = [np.asarray(cell) for cell in cells if isinstance(cell, list) and cell]
        dtype = np.result_type(*{one.dtype for one in (*arrays, *lists)})
        return [None if cell is None else np.asarray(cell, dtype) for cell in cells]
    except (TypeError, ValueError):  # lists of other things, told when the table is made
        return cells


def _check_alike(name: str, cells: Sequence[Any], start: int, where: str, feature: Any) -> None:
    """DataError where the cells of one column make no column, with the first that is unlike those before."""
    from datasets import Dataset, Features

    try:
        Dataset.from_dict({name: list(cells)}, features=None if feature is None else Features({name: feature}))
        return
    except Exception as error:
        known = [(start + i, type(cell)) for i, cell in enumerate(cells) if cell is not None]
        other = next((one for one in known if one[1] is not known[0][1]), None)
        why = first_line(error)
    if other is None:
        raise DataError(f"{where}: column {name!r}: {why}")
    first, second = (f"{_KINDS.get(kind, kind.__name__)} (row {row})" for row, kind in (known[0], other))
    raise DataError(f"{where}: column {name!r} holds {first} and {second}; give values of one kind")
