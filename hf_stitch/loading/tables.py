"""The rows behind a recipe's `dataset`: a zoo name, a local file or folder, or a Hub dataset.

- `zoo:NAME`, or a folder with one Parquet file per split;
- a .parquet, .jsonl or .csv file (sounds and pictures by their paths), or a folder written by `Dataset.save_to_disk`;
- a folder of sound files, with a metadata.csv or metadata.jsonl whose `file_name` names them, or without: the columns
  are then `audio`, and `label` from the names of the sub-folders;
- a Hub id, or `id:configuration` for a dataset that has several.

A split may carry a slice, `train[:80%]`, as in the datasets library. Sound stays undecoded: no torchcodec is needed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_stitch.errors import DataError, StitchError, nearest
from hf_stitch.recipe.data import Data
from hf_stitch.recipe.names import is_path, is_shipped

if TYPE_CHECKING:
    from datasets import Dataset

SOUND = (".aif", ".aiff", ".au", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".w64", ".wav")  # what soundfile reads


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
        return (folder or Path()) / Path(value).expanduser()
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
    return sorted(path for path in (located(one, table.folder) for one in found if one) if _is_file(path))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a text, too long for a name
        return False


def open_table(data: Data, name: str) -> Table:
    """The rows of one set of samples; `name` (fit, validation, test) says which, for errors and as the zoo's split.

    Raises:
        ZooError: unknown zoo name. DataError: no such file, folder, dataset or split, or one that cannot be read.
    """
    from datasets import Audio

    split, part = _split(data.split)
    table = _open(data, split, name)
    rows = table.rows
    for column, feature in rows.features.items():
        if isinstance(feature, Audio):
            # datasets decodes by torchcodec alone, which not every machine can load.
            rows = rows.cast_column(column, Audio(sampling_rate=feature.sampling_rate, decode=False))
    return Table(_sliced(rows, part, data), table.folder)


def table_place(data: Data) -> Path | None:
    """The file or folder of a dataset; None for one of the Hub."""
    if is_shipped(data.dataset):
        from hf_stitch.zoo.catalogue import resolve_data

        return resolve_data(data.dataset)
    path = Path(data.dataset).expanduser()
    return path if path.exists() else None


def _open(data: Data, split: str | None, name: str) -> Table:
    path = table_place(data) or Path(data.dataset).expanduser()
    if path.is_dir():
        return _from_folder(path, (split or name) if is_shipped(data.dataset) else split)
    if path.is_file():
        if split not in (None, "train"):
            raise DataError(f"data.{name}: {path} is one file and has no split {split!r}; leave it out, or train[:80%]")
        return Table(_read_file(path), path.parent)
    if is_path(data.dataset) or path.suffix in READERS:
        raise DataError(f"data.{name}.dataset: no such file or folder: {data.dataset}; check the path")
    rows: Dataset = _from_hub(data, split)
    return Table(rows, None)


def _from_folder(folder: Path, split: str | None) -> Table:
    splits = {path.stem: path for path in folder.glob("*.parquet")}
    if splits:
        return Table(_read_file(_chosen(splits, split, folder)), folder)
    if (folder / "dataset_dict.json").is_file():
        names = json.loads((folder / "dataset_dict.json").read_text())["splits"]
        folder = _chosen({known: folder / known for known in names}, split, folder)
    if (folder / "state.json").is_file():
        from datasets import load_from_disk

        with _explained(str(folder)):
            return Table(load_from_disk(str(folder)), folder)
    if split is not None and (folder / split).is_dir():
        folder = folder / split
    elif split not in (None, "train"):
        raise DataError(f"{folder}: has no split {split!r}; expected a sub-folder or a Parquet file of that name")
    return Table(_sounds(folder), folder)


def _chosen(splits: dict[str, Path], split: str | None, folder: Path) -> Path:
    if split is None and len(splits) == 1:
        return next(iter(splits.values()))
    if split not in splits:
        what = f"has no split {split!r}" if split else "has several splits, give one as `split`"
        raise DataError(f"{folder}: {what}; {nearest(split or '', splits)}")
    return splits[split]


def _sounds(folder: Path) -> Dataset:
    """A folder of sound files; datasets' own `audiofolder` needs torchcodec."""
    from datasets import Dataset

    for metadata in (folder / "metadata.csv", folder / "metadata.jsonl"):
        if metadata.is_file():
            rows = _read_file(metadata)
            if "file_name" not in rows.column_names:
                raise DataError(f"{metadata}: has no column 'file_name'; {nearest('file_name', rows.column_names)}")
            return rows.add_column("audio", list(rows["file_name"]))
    files = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SOUND and path.is_file()]
    if not files:
        raise DataError(f"{folder}: no sound files ({', '.join(SOUND)}) and no Parquet files; expected either")
    names = [path.relative_to(folder).as_posix() for path in files]
    columns = {"audio": names, "file_name": names}
    # Only where every sound lies in a sub-folder: one beside them would have no label.
    if all("/" in file for file in names):
        columns["label"] = [file.split("/")[0] for file in names]
    return Dataset.from_dict(columns)


def _read_file(path: Path) -> Dataset:
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: unknown kind of table {path.suffix!r}; expected {', '.join(sorted(READERS))}")
    with _explained(str(path)):
        return reader(path)


def _read_parquet(path: Path) -> Dataset:
    import pyarrow.parquet
    from datasets import Dataset

    return Dataset(pyarrow.parquet.read_table(path))


def _read_csv(path: Path) -> Dataset:
    import pandas
    from datasets import Dataset

    try:  # the words NA and null are text here
        return Dataset.from_pandas(pandas.read_csv(path, keep_default_na=False), preserve_index=False)
    except pandas.errors.EmptyDataError:
        raise DataError(f"{path}: empty file; expected a header and rows") from None


def _read_jsonl(path: Path) -> Dataset:
    from datasets import Dataset

    rows: list[dict[str, Any]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}: line {number} is not JSON ({error.msg}); expected one object a line") from None
        if not isinstance(row, dict):
            raise DataError(f"{path}: line {number} is a {type(row).__name__}; expected one object a line")
        rows.append(row)
    if not rows:
        raise DataError(f"{path}: empty file; expected one JSON object a line")
    return Dataset.from_list(rows)


# Not load_dataset: it copies the table into its cache, and tells a counter on the network of it.
READERS = {".csv": _read_csv, ".jsonl": _read_jsonl, ".parquet": _read_parquet}


def _from_hub(data: Data, split: str | None) -> Dataset:
    import datasets

    place, _, configuration = data.dataset.partition(":")
    with _explained(data.dataset):
        rows = datasets.load_dataset(place, configuration or None, split=split, revision=data.revision)
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
