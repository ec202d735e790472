"""The first rows of a Hub dataset or of a large file, read no further and written to an Arrow file as they come."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_stitch.errors import DataError
from hf_stitch.loading.arrow_rows import ROWS, joined, written
from hf_stitch.loading.data_objects import rows_of_stream
from hf_stitch.loading.text_files import decoded, delimiter, row_of_line
from hf_stitch.recipe.data import Data

if TYPE_CHECKING:
    from datasets import Dataset


def rows_wanted(data: Data, part: str) -> tuple[int, int]:
    """The first row, and how many, of a slice `[a:b]` of which `samples` are wanted.

    Raises:
        DataError: a slice that only the number of all rows tells.
    """
    most = data.samples or 0
    if not part:
        return 0, most
    found = re.fullmatch(r"\[(\d*):(\d*)\]", part)
    first = int(found[1] or 0) if found else 0
    last = int(found[2]) if found and found[2] else first + most
    if found is None or last <= first:
        raise DataError(
            f"split {data.split!r}: a stream does not know how many rows there are; give a slice by their numbers, "
            "such as train[1000:2000]"
        )
    return first, min(most, last - first)


def streamed_rows(stream: Any, first: int, count: int, where: str) -> Dataset:
    """Rows of an IterableDataset of the datasets library; sound stays undecoded."""
    return rows_of_stream(stream.skip(first) if first else stream, where, count)


def streamed_file(path: Path, first: int, count: int, where: str) -> Dataset:
    """Rows of a JSONL, CSV or Parquet file; read once, whoever asks, as long as it is the same file.

    Raises:
        DataError: rows that cannot be read, or none.
    """
    status = path.stat()
    return _read(path, first, count, where, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _read(path: Path, first: int, count: int, where: str, size: int, changed: int) -> Dataset:
    if path.suffix.lower() == ".jsonl":
        return written(itertools.islice(_lines(path), first, first + count), where)
    tables = _parquet(path) if path.suffix.lower() == ".parquet" else _csv(path)
    return joined(_cut(tables, first, count), where)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    number = 0
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield row_of_line(line, number, path)
    except UnicodeDecodeError as error:
        decoded(error.object, f"{path}, near line {number + 1}")
        raise


def _parquet(path: Path) -> Iterator[Dataset]:
    import pyarrow as pa
    import pyarrow.parquet
    from datasets import Dataset

    with pyarrow.parquet.ParquetFile(path, page_checksum_verification=True) as file:
        for batch in file.iter_batches(batch_size=ROWS):
            yield Dataset(pa.Table.from_batches([batch]).replace_schema_metadata(file.schema_arrow.metadata))


def _csv(path: Path) -> Iterator[Dataset]:
    import pandas
    from datasets import Dataset

    with path.open("rb") as file:
        head = decoded(b"".join(itertools.islice(file, 2)), str(path))
    try:
        with pandas.read_csv(
            path, sep=delimiter(head), keep_default_na=False, encoding="utf-8-sig", chunksize=10 * ROWS
        ) as chunks:
            for frame in chunks:
                if type(frame.index).__name__ != "RangeIndex" or bool(frame.iloc[:, -1].isna().any()):
                    what = f"rows with more or fewer cells than the {len(frame.columns)} columns of the header"
                    raise DataError(f"{path}: {what}; give each row as many, and read it without streaming for which")
                yield Dataset.from_pandas(frame, preserve_index=False)
    except pandas.errors.EmptyDataError:
        raise DataError(f"{path}: empty file; expected a header and rows") from None


def _cut(tables: Iterator[Dataset], first: int, count: int) -> Iterator[Dataset]:
    """The rows wanted of tables that follow one another; no table behind them is asked for."""
    skipped = taken = 0
    for table in tables:
        start = min(first - skipped, len(table))
        rows = min(count - taken, len(table) - start)
        if rows > 0:
            yield table.select(range(start, start + rows))
        skipped, taken = skipped + start, taken + rows
        if taken == count:
            return
