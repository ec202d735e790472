"""Where work that a rerun can resume is kept: one folder a fingerprint, below HF_STITCH_CACHE or the user's cache."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

ENTRY = re.compile(r"[0-9a-f]{16,64}(-[\w.-]+)?")
"""Names of entries: a fingerprint, perhaps with a suffix. `clear` deletes nothing else."""


@dataclass(frozen=True)
class Entry:
    """One entry: its folder, how many bytes and files are in it, and when it last changed (seconds since 1970)."""

    path: Path
    size: int
    files: int
    changed: float

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


def clear() -> list[Entry]:
    """Delete all entries and return what they were. Links and anything not named by a fingerprint stay."""
    found = entries()
    for entry in found:
        shutil.rmtree(entry.path)
    return found


def _is_entry(path: Path) -> bool:
    # The user may have set HF_STITCH_CACHE to a folder that holds other things too.
    return ENTRY.fullmatch(path.name) is not None and path.is_dir() and not path.is_symlink()


def _entry(path: Path) -> Entry:
    status = [file.lstat() for file in path.rglob("*") if not file.is_dir()]
    changed = max([path.lstat().st_mtime, *(s.st_mtime for s in status)])
    return Entry(path, sum(s.st_size for s in status), len(status), changed)
