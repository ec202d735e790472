"""One fit at a time writes a folder: a file in it, locked while the fit runs, left there by one that did not end."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hf_stitch.errors import ArtifactError
from hf_stitch.runtime.files import report_full_disk

CLAIM = ".hf-stitch-unfinished"


@contextmanager
def claimed(folder: Path, check: Callable[[bool], object]) -> Iterator[None]:
    """Hold a folder, which is made if need be; the mark is left there after an error.

    Args:
        check: called once the folder is held, with whether an interrupted fit held it before; what it raises leaves
            the folder as it was.

    Raises:
        ArtifactError: another fit holds it.
    """
    with report_full_disk(ArtifactError(f"no space left for {folder}: free some and run again")):
        folder.mkdir(parents=True, exist_ok=True)
        held, new = _locked(folder)
    try:
        try:
            check(not new)
        except BaseException:
            if new:
                (folder / CLAIM).unlink(missing_ok=True)
            raise
        yield
        (folder / CLAIM).unlink(missing_ok=True)
    finally:
        os.close(held)  # which unlocks it, as the end of the process does


def unfinished(folder: Path) -> bool:
    """Whether a fit that did not end left its mark in the folder.

    Raises:
        ArtifactError: it is still running.
    """
    if int(os.environ.get("RANK", "0")) > 0:
        # Of several processes of one fit the first holds the folder for all, maybe before another has looked.
        return (folder / CLAIM).is_file()
    try:
        seen = os.open(folder / CLAIM, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        _lock(seen, folder, fcntl.LOCK_SH)
        return True
    finally:
        os.close(seen)


def _locked(folder: Path) -> tuple[int, bool]:
    """The open and locked mark, and whether it was made now."""
    while True:
        try:
            held, new = os.open(folder / CLAIM, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644), True
        except FileExistsError:
            try:
                held, new = os.open(folder / CLAIM, os.O_RDWR), False
            except FileNotFoundError:  # its fit ended meanwhile
                continue
        try:
            _lock(held, folder, fcntl.LOCK_EX)
            # The fit that held it may have ended and deleted it since it was opened.
            if os.path.samestat(os.fstat(held), os.stat(folder / CLAIM)):
                return held, new
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(held)
            raise
        os.close(held)


def _lock(file: int, folder: Path, kind: int) -> None:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ArtifactError(f"another fit writes {folder} now; wait until it ends, or give another --out") from None
    except OSError:  # a file system without locks: the mark alone must do
        return
