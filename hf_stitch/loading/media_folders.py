"""Folders of sounds or pictures, laid out as `audiofolder` and `imagefolder` of the datasets library take them.

Classes are the names of the folders in which files lie; splits are folders called train, validation, test, or what the
datasets library takes for these; or a metadata.csv, metadata.jsonl or metadata.parquet in any of them has a row for
each file, which it names in `file_name` (column `audio` or `image`) or in `NAME_file_name` (column NAME).
The library's own builders need torchcodec for sounds, and copy what they read into a cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_stitch.errors import DataError, nearest

if TYPE_CHECKING:
    from datasets import Dataset

SOUND = (".aif", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".rf64", ".voc", ".w64", ".wav")
"""What soundfile reads."""
PICTURE = (".apng", ".bmp", ".dib", ".gif", ".ico", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pcx",
           ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp")  # fmt: skip
"""What Pillow reads."""
METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
FILE_NAME = "file_name"
SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
"""Names of folders that are splits, by the datasets library's `SPLIT_KEYWORDS`."""
_APART = "-._ 0123456789"  # what may part such a name from the rest, as there


def has_media(folder: Path) -> bool:
    """Whether sounds or pictures lie in a folder or below it."""
    return any(path.suffix.lower() in SOUND + PICTURE for path in _files(folder))


def media_splits(folder: Path) -> dict[str, list[Path]]:
    """The folders of each split, by `train`, `validation`, `test`; none where sub-folders are something else."""
    there = sorted(path for path in folder.iterdir() if _is_seen(path, folder))
    below = [path for path in there if path.is_dir()]
    named = [(_split_of(path.name), path) for path in below]
    if not below or any(path.name in METADATA or _is_media(path) for path in there if path.is_file()):
        return {}
    if all(split is not None for split, _ in named):
        found: dict[str, list[Path]] = {}
        for split, path in named:
            found.setdefault(str(split), []).append(path)
        return found
    return media_splits(below[0]) if len(below) == 1 else {}


def media_rows(folder: Path, within: Sequence[Path], read: Callable[[Path], Dataset]) -> Dataset:
    """A row for each file in these folders: `audio` or `image` with its path from `folder`, `file_name`, and `label`.

    With metadata, their rows instead.

    Args:
        read: a table's file.

    Raises:
        DataError: neither sounds nor pictures, or metadata that name no files.
    """
    from datasets import Dataset

    there = [path for place in within for path in _files(place)]
    # One a folder, in the order of their kinds: others there would tell of the same files.
    if metadata := {path.parent: path for name in reversed(METADATA) for path in there if path.name == name}:
        return _of_metadata([metadata[place] for place in sorted(metadata)], folder, read)
    sounds, pictures = ([path for path in there if path.suffix.lower() in kind] for kind in (SOUND, PICTURE))
    files = sounds or pictures
    if not files:
        known = f"no sound files ({', '.join(SOUND)}), no pictures ({', '.join(PICTURE)})"
        raise DataError(f"{folder}: {known} and no Parquet files; expected one of them")
    names = [path.relative_to(folder).as_posix() for path in files]
    columns = {_column_of(names): names, FILE_NAME: names}
    # Only where every file lies in a sub-folder: one beside them would have no label.
    places = [next(path.relative_to(place).parts for place in within if place in path.parents) for path in files]
    if all(len(parts) > 1 for parts in places):
        even = len({len(parts) for parts in places}) == 1
        columns["label"] = [parts[-2] if even else parts[0] for parts in places]
    return Dataset.from_dict(columns)


def _of_metadata(files: Sequence[Path], folder: Path, read: Callable[[Path], Dataset]) -> Dataset:
    """The rows of all metadata, with the files that they name as paths from `folder`."""
    tables = [(path, read(path)) for path in files]
    if len(tables) == 1 and files[0].parent == folder:
        return _with_named_files(tables[0][1], [""] * len(tables[0][1]), files[0])
    rows: list[dict[str, Any]] = []
    prefixes: list[str] = []
    for path, table in tables:
        below = path.parent.relative_to(folder).as_posix()
        rows += table
        prefixes += ["" if below == "." else f"{below}/"] * len(table)
    from datasets import Dataset

    keys = dict.fromkeys(key for row in rows for key in row)
    try:
        whole = Dataset.from_dict({key: [row.get(key) for row in rows] for key in keys})
    except (TypeError, ValueError) as error:  # pyarrow's own are among them
        told = f"{', '.join(map(str, files[:4]))}: columns of one name hold different things"
        raise DataError(f"{told} ({str(error).splitlines()[0]}); give them alike") from None
    return _with_named_files(whole, prefixes, files[0])


def _with_named_files(rows: Dataset, prefixes: Sequence[str], path: Path) -> Dataset:
    naming = [name for name in rows.column_names if name == FILE_NAME or name.endswith(f"_{FILE_NAME}")]
    if not naming:
        raise DataError(f"{path}: has no column {FILE_NAME!r}; {nearest(FILE_NAME, rows.column_names)}")
    for name in naming:
        given = list(rows[name])
        names = [None if one is None else f"{before}{one}" for before, one in zip(prefixes, given)]
        if names != given:
            rows = rows.remove_columns([name]).add_column(name, names)
        column = name.removesuffix(f"_{FILE_NAME}") if name != FILE_NAME else _column_of(names)
        rows = rows if column in rows.column_names else rows.add_column(column, names)
    return rows


def _column_of(names: Sequence[Any]) -> str:
    """image where all files are pictures, else audio."""
    return "image" if all(Path(str(name)).suffix.lower() in PICTURE for name in names) else "audio"


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and _is_seen(path, folder))


def _is_media(path: Path) -> bool:
    return path.suffix.lower() in SOUND + PICTURE


def _is_seen(path: Path, folder: Path) -> bool:
    """Neither hidden nor beside the data, such as what a Mac leaves in archives (`__MACOSX`, `._a.png`)."""
    return not any(part.startswith((".", "__")) for part in path.relative_to(folder).parts)


def _split_of(name: str) -> str | None:
    """The split that a folder is called by, perhaps with a number or a word beside it: `train-1`, `my_test`."""
    folded = name.casefold()
    for split, words in SPLITS.items():
        for word in words:
            before, found, behind = folded.partition(word)
            if found and (not before or before[-1] in _APART) and (not behind or behind[0] in _APART):
                return split
    return None
