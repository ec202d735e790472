"""Rows in parquet files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Features


def write_rows(rows: list[dict[str, Any]], features: Features, path: Path) -> None:
    """Write rows as a parquet file that `datasets` reads with these features."""
    import pyarrow
    import pyarrow.parquet

    # written by pyarrow, since `datasets` wants torchcodec even for audio that is encoded already
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=features.arrow_schema), path)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a parquet file as dictionaries."""
    import pyarrow.parquet

    return pyarrow.parquet.read_table(path).to_pylist()
