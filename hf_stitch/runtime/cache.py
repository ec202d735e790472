"""Where work that a rerun can resume is kept: one folder a fingerprint, below HF_STITCH_CACHE or the user's cache."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hf_stitch.runtime.files import write_text

ENTRY = re.compile(r"[0-9a-f]{16,64}(-[\w.-]+)?")
"""Names of entries: a fingerprint, perhaps with a suffix. `clear` deletes nothing else."""


ABOUT = ".about.json"
"""What follows an entry's name in that of the file beside it which says of what it is."""


@dataclass(frozen=True)
class Entry:
    """One entry: its folder, how many bytes and files are in it, and when it last changed (seconds since 1970).

    `about` is what was written of it: `{recipe, source, target, split, samples}`; empty where nothing was.
    """

    path: Path
    size: int
    files: int
    changed: float
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.path.name


def cache_folder() -> Path:
    """The folder of all entries, which may not exist yet."""
    chosen = os.environ.get("HF_STITCH_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    base = os.environ.get("LOCALAPPDATA") if os.name == "nt" else os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "hf_stitch"


def entries() -> list[Entry]:
    """All entries, the most recently changed first."""
    folder = cache_folder()
    if not folder.is_dir():
        return []
    found = [_entry(path) for path in folder.iterdir() if _is_entry(path)]
    return sorted(found, key=lambda entry: (-entry.changed, entry.name))


def describe(name: str, about: Mapping[str, Any]) -> None:
    """Write what an entry is of, for people who look at the cache; the last one who asked for it says it."""
    with suppress(OSError):  # a note: a disk that is full says so at the entry itself
        cache_folder().mkdir(parents=True, exist_ok=True)
        write_text(_about_file(cache_folder() / name), json.dumps(dict(about)) + "\n")


def clear() -> list[Entry]:
    """Delete all entries and return what they were. Links and anything not named by a fingerprint stay."""
    found = entries()
    for entry in found:
        shutil.rmtree(entry.path)
        _about_file(entry.path).unlink(missing_ok=True)
    return found


def _is_entry(path: Path) -> bool:
    # The user may have set HF_STITCH_CACHE to a folder that holds other things too.
    return ENTRY.fullmatch(path.name) is not None and path.is_dir() and not path.is_symlink()


def _entry(path: Path) -> Entry:
    status = [file.lstat() for file in path.rglob("*") if not file.is_dir()]
    changed = max([path.lstat().st_mtime, *(s.st_mtime for s in status)])
    return Entry(path, sum(s.st_size for s in status), len(status), changed, _about(path))


def _about_file(entry: Path) -> Path:
    return entry.with_name(entry.name + ABOUT)


def _about(entry: Path) -> dict[str, Any]:
    try:
        found = json.loads(_about_file(entry).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
