"""The rows behind a recipe's `dataset`: a zoo name, a local file or folder, or a Hub dataset.

- `zoo:NAME`, or a folder with one Parquet file per split;
- a .parquet, .jsonl or .csv file (sounds and pictures by their paths), or a folder written by `Dataset.save_to_disk`;
- a folder of sounds, else of pictures, as `audiofolder` and `imagefolder` of the datasets library take them;
- a Hub id, or `id:configuration` for a dataset that has several.

A split may carry a slice, `train[:80%]`, as in the datasets library. Sound stays undecoded: no torchcodec is needed.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_stitch.errors import DataError, StitchError, nearest
from hf_stitch.loading.data_objects import undecoded
from hf_stitch.loading.media_folders import has_media, media_rows, media_splits
from hf_stitch.loading.streams import rows_wanted, streamed_file, streamed_rows
from hf_stitch.loading.text_files import decoded, delimiter, lines_of, row_of_line, short_row
from hf_stitch.recipe.data import Data
from hf_stitch.recipe.names import (
    is_elsewhere,
    is_file,
    is_folder,
    is_in_memory,
    is_path,
    is_shipped,
    is_there,
    local_path,
)

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Table:
    """Rows, and the folder to which paths in them are relative (None for a Hub dataset)."""

    rows: Dataset
    folder: Path | None
    _columns: dict[str, Dataset] = field(default_factory=dict, compare=False, repr=False)

    def value(self, column: str, row: int) -> Any:
        """One cell; a view of the column alone is kept, since decoding the other columns of a row costs more."""
        return self._alone(column)[row][column]

    def values(self, column: str, rows: Sequence[int]) -> list[Any]:
        """Several cells in one query."""
        return list(self._alone(column)[list(rows)][column])

    def _alone(self, column: str) -> Dataset:
        if column not in self._columns:
            self._columns[column] = self.rows.select_columns([column])
        return self._columns[column]


def located(value: Any, folder: Path | None) -> Any:
    """A sound or picture with its path made absolute: paths in a table are relative to its folder."""
    if isinstance(value, str):
        return (folder or Path()) / local_path(value)
    if isinstance(value, Mapping) and not value.get("bytes") and isinstance(value.get("path"), str):
        return located(value["path"], folder)
    return value


def named_files(table: Table, columns: Sequence[str]) -> list[Path]:
    """The files that cells of these columns name: sounds and pictures. Those that are not there are not among them."""
    import pyarrow as pa

    whole, found = table.rows.with_format("arrow")[:], set()
    for cells in (whole.column(name) for name in columns):
        if pa.types.is_struct(cells.type) and {"path", "bytes"} <= {one.name for one in cells.type}:
            # The bytes themselves are not read: they may be gigabytes.
            paths, inside = (pa.compute.struct_field(cells, name) for name in ("path", "bytes"))
            found |= set(paths.filter(inside.is_null()).to_pylist())
        elif pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type):
            found |= set(cells.to_pylist())
    return sorted(path for path in (located(one, table.folder) for one in found if one) if is_file(path))


def open_table(data: Data, name: str, given: Mapping[str, Dataset] | None = None) -> Table:
    """The rows of one set of samples; `name` (fit, validation, test) says which, for errors and as the zoo's split.

    Args:
        given: rows in memory, by their names.

    Raises:
        ZooError: unknown zoo name. DataError: no such file, folder, dataset or split, or one that cannot be read.
    """
    split, part = _split(data.split)
    if is_in_memory(data.dataset):
        held = _held(data, name, given or {})
        return Table(_sliced(undecoded(held.rows), part, data), held.folder)
    if data.streaming and (table := _open_stream(data, split, part, name)) is not None:
        return table
    table = _open(data, split, name)
    return Table(_sliced(undecoded(table.rows), part, data), table.folder)


def _open_stream(data: Data, split: str | None, part: str, name: str) -> Table | None:
    """The rows read from a Hub dataset or a file, no more than are wanted; None of a folder that is read row by row."""
    path = table_place(data)
    if path is not None and is_folder(path) and (splits := _tables_in(path)):
        path = _chosen(splits, (split or name) if is_shipped(data.dataset) else split, path)
        split = None
    if path is not None and is_folder(path):
        return None
    if path is None and (is_path(data.dataset) or is_elsewhere(data.dataset) or Path(data.dataset).suffix in READERS):
        return None  # told there
    if path is not None and split not in (None, "train"):
        raise DataError(f"data.{name}: {path} is one file and has no split {split!r}; leave it out, or train[:1000]")
    first, count = rows_wanted(data, part)
    if path is None:
        with _explained(data.dataset):
            rows = streamed_rows(_load(data, split, streaming=True), first, count, f"data.{name}")
            return Table(rows, None)
    if path.suffix.lower() not in READERS:
        return None
    with _explained(str(path)):
        return Table(undecoded(streamed_file(path, first, count, f"data.{name}")), path.parent)


def _held(data: Data, name: str, given: Mapping[str, Dataset]) -> Table:
    """Rows in memory; paths in them are as Python sees them, from the working directory.

    Raises:
        DataError: they were not handed over.
    """
    if data.dataset not in given:
        raise DataError(
            f"data.{name}.dataset: {data.dataset!r} was in memory where the map was fitted, and no name finds "
            "it again: from Python hand data over, as evaluate(DIR, data=...) does; or name others (dataset=FILE)"
        )
    return Table(given[data.dataset], None)


def table_place(data: Data) -> Path | None:
    """The file or folder of a dataset; None for one of the Hub."""
    if is_shipped(data.dataset):
        from hf_stitch.zoo.catalogue import resolve_data

        return resolve_data(data.dataset)
    if is_in_memory(data.dataset):
        return None
    path = local_path(data.dataset)
    return path if is_there(path) else None


def _open(data: Data, split: str | None, name: str) -> Table:
    if is_elsewhere(data.dataset):
        raise DataError(
            f"data.{name}.dataset: {data.dataset!r} lay where the map was fitted, and its place is not told: name data "
            "that are here (dataset=FILE)"
        )
    path = table_place(data) or local_path(data.dataset)
    if is_folder(path):
        return _from_folder(path, (split or name) if is_shipped(data.dataset) else split)
    if is_file(path):
        if split not in (None, "train"):
            raise DataError(f"data.{name}: {path} is one file and has no split {split!r}; leave it out, or train[:80%]")
        return Table(_read_file(path), path.parent)
    if is_path(data.dataset) or path.suffix in READERS:
        raise DataError(f"data.{name}.dataset: no such file or folder: {data.dataset}; check the path")
    rows: Dataset = _from_hub(data, split)
    return Table(rows, None)


def _from_folder(folder: Path, split: str | None) -> Table:
    if splits := _tables_in(folder):
        return Table(_read_file(_chosen(splits, split, folder)), folder)
    if (folder / "dataset_dict.json").is_file():
        names = json.loads((folder / "dataset_dict.json").read_text())["splits"]
        folder = _chosen({known: folder / known for known in names}, split, folder)
    if (folder / "state.json").is_file():
        from datasets import load_from_disk

        with _explained(str(folder)):
            return Table(load_from_disk(str(folder)), folder)
    if split is not None and (folder / split).is_dir():
        return Table(media_rows(folder / split, [folder / split], _read_file), folder / split)
    parts = media_splits(folder)
    if parts and (chosen := [split] if split in parts else list(parts) if split is None and len(parts) == 1 else []):
        return Table(media_rows(folder, parts[chosen[0]], _read_file), folder)
    if parts:
        what = f"has no split {split!r}" if split else "has several splits, give one as `split`"
        raise DataError(f"{folder}: {what}; {nearest(split or '', parts)}")
    if split not in (None, "train"):
        raise DataError(f"{folder}: has no split {split!r}; expected a sub-folder or a Parquet file of that name")
    return Table(media_rows(folder, [folder], _read_file), folder)


def _tables_in(folder: Path) -> dict[str, Path]:
    """Parquet files by their names; none where one is the metadata of sounds or pictures beside it."""
    found = {path.stem: path for path in folder.glob("*.parquet")}
    return {} if list(found) == ["metadata"] and has_media(folder) else found


def _chosen(splits: dict[str, Path], split: str | None, folder: Path) -> Path:
    if split is None and len(splits) == 1:
        return next(iter(splits.values()))
    if split not in splits:
        what = f"has no split {split!r}" if split else "has several splits, give one as `split`"
        raise DataError(f"{folder}: {what}; {nearest(split or '', splits)}")
    return splits[split]


def _read_file(path: Path) -> Dataset:
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: unknown kind of table {path.suffix!r}; expected {', '.join(sorted(READERS))}")
    with _explained(str(path)):
        return reader(path)


def _read_parquet(path: Path) -> Dataset:
    import pyarrow.parquet
    from datasets import Dataset

    groups = (found := pyarrow.parquet.read_metadata(path)).num_row_groups
    for group in map(found.row_group, range(groups)):
        columns = [(found.schema.column(i), group.column(i)) for i in range(group.num_columns)]
        if any(kind.max_repetition_level == 0 and one.num_values != group.num_rows for kind, one in columns):
            raise DataError(f"{path}: damaged, its columns hold more or fewer values than it has rows; copy it again")
    # Where the writer kept checksums; else a damaged page is other rows.
    return Dataset(pyarrow.parquet.read_table(path, page_checksum_verification=True))


def _read_csv(path: Path) -> Dataset:
    import pandas
    from datasets import Dataset

    text = decoded(path.read_bytes(), str(path))
    try:  # the words NA and null are text here
        frame = pandas.read_csv(
            io.StringIO(text, newline=""), sep=delimiter(text), keep_default_na=False, low_memory=False
        )
    except pandas.errors.EmptyDataError:
        raise DataError(f"{path}: empty file; expected a header and rows") from None
    if not isinstance(frame.index, pandas.RangeIndex):
        # pandas takes the first cells for names of the rows, and all others move by as many columns.
        width = len(frame.columns)
        what = f"rows have {frame.index.nlevels + width} cells, the header names {width} columns"
        raise DataError(f"{path}: {what}; give each row as many cells as there are columns")
    last = frame.iloc[:, -1]
    if bool(((last == "") | last.isna()).any()) and (short := short_row(text, delimiter(text))) is not None:
        what = f"row {short[0]} has {short[1]} cells, the header names {len(frame.columns)} columns"
        raise DataError(f"{path}: {what}; give each row as many cells, or copy the file again if it was cut")
    return Dataset.from_pandas(frame, preserve_index=False)


def _read_jsonl(path: Path) -> Dataset:
    from datasets import Dataset

    rows: list[dict[str, Any]] = []
    for number, line in enumerate(lines_of(decoded(path.read_bytes(), str(path))), start=1):
        if not line.strip():
            continue
        rows.append(row_of_line(line, number, path))
    if not rows:
        raise DataError(f"{path}: empty file; expected one JSON object a line")
    # Not from_list, which knows the first row's keys alone.
    keys = dict.fromkeys(key for row in rows for key in row)
    return Dataset.from_dict({key: [row.get(key) for row in rows] for key in keys})


# Not load_dataset: it copies the table into its cache, and tells a counter on the network of it.
READERS = {".csv": _read_csv, ".jsonl": _read_jsonl, ".parquet": _read_parquet}


def _from_hub(data: Data, split: str | None) -> Dataset:
    with _explained(data.dataset):
        rows: Dataset = _load(data, split)
        return rows


def _load(data: Data, split: str | None, **how: Any) -> Any:
    """What the datasets library has under that id: one split."""
    import datasets

    place, _, configuration = data.dataset.partition(":")
    rows = datasets.load_dataset(place, configuration or None, split=split, revision=data.revision, **how)
    if isinstance(rows, dict):
        if len(rows) != 1:
            what = f"dataset {data.dataset!r} has several splits"
            raise DataError(f"{what}, give one as `split`; {nearest('', rows)}")
        rows = next(iter(rows.values()))
    return rows


def _split(split: str | None) -> tuple[str | None, str]:
    """Name and slice: `train[:80%]` is ("train", "[:80%]")."""
    found = re.fullmatch(r"([^\[\]]*)(\[.*\])?", split or "")
    if found is None:
        raise DataError(f"split {split!r} cannot be read; expected a name, or a slice of it such as train[:80%]")
    return found[1] or None, found[2] or ""


def _sliced(rows: Dataset, part: str, data: Data) -> Dataset:
    from datasets import ReadInstruction

    if not part:
        return rows
    try:
        [place] = ReadInstruction.from_spec("rows" + part).to_absolute({"rows": len(rows)})
    except ValueError as error:
        raise DataError(f"split {data.split!r}: {error}; expected a slice such as train[:80%]") from None
    return rows.select(range(place.from_ or 0, len(rows) if place.to is None else place.to))


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turn what readers raise into one line."""
    try:
        yield
    except StitchError:
        raise
    except ConnectionError as error:
        found = f"dataset {what!r}: neither a local file nor a Hub dataset that can be reached"
        raise DataError(f"{found}; check the spelling and the network, or give a local file") from error
    except Exception as error:  # each reader has errors of its own
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(f"dataset {what!r} cannot be read: {first}") from error
