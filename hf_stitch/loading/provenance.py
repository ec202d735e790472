"""Where a pretrained model comes from: its commit, a stamp of its files, its licence."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_stitch.loading.models import resolve
from hf_stitch.loading.sentence_transformers import whole
from hf_stitch.loading.tables import Table, named_files, open_table, table_place
from hf_stitch.recipe.data import Data
from hf_stitch.recipe.names import is_elsewhere, is_in_memory, is_shipped
from hf_stitch.recipe.side import Side

if TYPE_CHECKING:
    from datasets import Dataset


def data_stamp(data: Data, name: str, table: Table | None = None) -> dict[str, Any]:
    """What a collection's cache key must know of its data: the request, where it is, and the content of all its files.

    Args:
        name: fit, validation or test. table: its rows, where they are open already.
    """
    asked = data.model_dump(mode="json")
    if not data.streaming:  # as before there was such a key
        del asked["streaming"]
    stamp: dict[str, Any] = {"asked": asked, "files": data_files(data, name, table)}
    if not is_shipped(data.dataset) and Path(data.dataset).expanduser().exists():
        stamp["place"] = str(Path(data.dataset).expanduser().resolve())
    return stamp


def data_files(
    data: Data, name: str, table: Table | None = None, given: Mapping[str, Dataset] | None = None
) -> list[list[Any]]:
    """Name, size and content of the table's files and of those that its cells name, such as sounds and pictures.

    Names are relative, so that a project may be moved. Of a Hub dataset the files are those of its local copy, which
    lie in a folder named by the commit. Of rows in memory it is their own content.

    Args:
        given: rows in memory, by their names.
    """
    if table is None:
        table = open_table(data, name, given)
        if data.samples is not None and data.columns.neighbours is None:
            table = Table(table.rows.select(range(min(data.samples, len(table.rows)))), table.folder)
    place = table_place(data)
    if data.streaming and (kept := [Path(one["filename"]) for one in table.rows.cache_files]):
        return _files_of_stream(data, table, kept)
    own: list[Path] = []
    if is_in_memory(data.dataset):
        own = []
    elif place is None:
        own = [Path(one["filename"]) for one in table.rows.cache_files]
    else:
        own = [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())
    inputs = [one for one in (data.columns.source, data.columns.target) if one and one in table.rows.column_names]
    base = table.folder or (own[0].parent.parent if own else Path())
    known = {os.path.abspath(path) for path in (*own, *named_files(table, inputs))}
    held = [["", len(table.rows), digest_of_rows(table.rows)]] if is_in_memory(data.dataset) else []
    return held + sorted(_stamp(Path(path), base, DATA_HASHED_WHOLE) for path in known)


def digest_of_rows(rows: Dataset) -> str:
    """Hex digest of the names, types and content of all columns."""
    import pyarrow as pa

    found = hashlib.sha256()
    for batch in rows.with_format("arrow").iter(ROWS_AT_ONCE):
        sink = pa.BufferOutputStream()
        plain = batch.combine_chunks().replace_schema_metadata(None)
        with pa.ipc.new_stream(sink, plain.schema) as writer:
            writer.write_table(plain)
        found.update(sink.getvalue())
    return found.hexdigest()


def _files_of_stream(data: Data, table: Table, kept: Sequence[Path]) -> list[list[Any]]:
    """Of the rows that were read, and what their cells name; a file of which a part was read may be any length."""
    inputs = [one for one in (data.columns.source, data.columns.target) if one and one in table.rows.column_names]
    own = [_stamp(path, path.parent.parent, DATA_HASHED_WHOLE) for path in kept]
    return own + [_stamp(path, table.folder or Path(), DATA_HASHED_WHOLE) for path in named_files(table, inputs)]


HASHED_WHOLE = 16 * 2**20
"""Files up to this many bytes are hashed whole for a fingerprint; of larger ones the header, size and time. By hand."""

ROWS_AT_ONCE = 1000  # of a table in memory that are hashed together; by hand

DATA_HASHED_WHOLE = 2**30
"""The same for data, which an edit may leave as long as it was. By hand: a second or two on every run."""


def commit_of(side: Side) -> str | None:
    """Commit hash of a Hub id, from the local cache or else asked of the Hub; None for folders and when unreachable."""
    from huggingface_hub import model_info, try_to_load_from_cache

    if is_elsewhere(side.model) or is_in_memory(side.model):
        return None
    place = resolve(side.model)
    if Path(place).is_dir():
        return None
    cached = try_to_load_from_cache(place, "config.json", revision=side.revision)
    if isinstance(cached, str):
        return Path(cached).parent.name
    try:
        return model_info(place, revision=side.revision).sha
    except Exception:  # offline, private or absent: loading says which
        return None


def fingerprint_of(side: Side) -> str:
    """A stamp of the model's files for caches: another stamp means other weights or configuration.

    Hub ids are stamped with their commit (with the name and revision when it cannot be found out), folders with every
    file's name, size and content; of files above `HASHED_WHOLE` bytes the header and time stand for the content.
    """
    place = whole(resolve(side.model))
    if Path(place).is_dir():
        stamps = [_stamp(path, Path(place), HASHED_WHOLE) for path in sorted(Path(place).rglob("*")) if path.is_file()]
    else:
        stamps = [[place, commit_of(side) or side.revision]]
    return hashlib.sha256(json.dumps([side.class_, stamps]).encode()).hexdigest()[:24]


def _stamp(path: Path, folder: Path, whole: int) -> list[Any]:
    status = path.stat()
    stamp: list[Any] = [Path(os.path.relpath(path, folder)).as_posix(), status.st_size]
    with path.open("rb") as file:
        if status.st_size <= whole:
            return [*stamp, hashlib.file_digest(file, "sha256").hexdigest()]
        # Names, dtypes and shapes of safetensors stand in the first MB; the time stands for the numbers.
        return [*stamp, hashlib.sha256(file.read(2**20)).hexdigest(), status.st_mtime_ns]


def licence_of(side: Side) -> str | None:
    """Licence that a model's own card states; None where there is no card to read."""
    from huggingface_hub import ModelCard, try_to_load_from_cache

    if is_in_memory(side.model):
        return None
    place = whole(resolve(side.model))
    local = Path(place) / "README.md"
    if not local.is_file():
        hub = not Path(place).is_dir()
        cached = try_to_load_from_cache(place, "README.md", revision=side.revision) if hub else None
        if not isinstance(cached, str):
            return None
        local = Path(cached)
    licence = ModelCard.load(local, ignore_metadata_errors=True).data.get("license")
    return str(licence) if licence else None
