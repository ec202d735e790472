"""Files that are whole or absent, and a full disk told in words."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hf_stitch.errors import StitchError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to, which takes its place in one step when the block ends.

    A reader sees the old file or the new one, never half of it. After an error the old one stays and the new one is
    deleted. The name has the process's number, so that several processes may write the same file.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield scratch
        os.replace(scratch, path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


def drop_scratch(folder: Path) -> None:
    """Delete what `replacing` left in a folder when its process was killed; nobody else may write there meanwhile."""
    for path in folder.glob(".*.tmp"):
        if re.fullmatch(r"\..+\.\d+\.tmp", path.name):
            path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with plain line ends in one step, see `replacing`."""
    with replacing(path) as scratch:
        scratch.write_text(text, encoding="utf-8", newline="\n")


def disk_is_full(error: BaseException) -> bool:
    """True for errors that say so: by number, or, as those of safetensors and torch, in words only."""
    return (isinstance(error, OSError) and error.errno == errno.ENOSPC) or "No space left" in str(error)


@contextmanager
def report_full_disk(told: StitchError) -> Iterator[None]:
    """Raise `told` where the disk is full; other errors stay what they are."""
    try:
        yield
    except Exception as error:
        if not disk_is_full(error):
            raise
        raise told from None
