"""The entry point, and what each way to end means: 0 done, 2 the user can mend it, 1 our fault, 130 interrupted."""

from __future__ import annotations

import errno
import io
import os
import shutil
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hf_stitch.cli.terminal import verbose
from hf_stitch.errors import StitchError
from hf_stitch.runtime.files import disk_is_full
from hf_stitch.runtime.visible import visible

DONE, FAULT, USER_ERROR, INTERRUPTED = 0, 1, 2, 130  # 2 as click has it, 130 as shells: 128 + SIGINT
ISSUES = "the project's issue page"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; `argv` are its words, those of the process when absent. Returns the status."""
    from hf_stitch.cli.app import command

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Texts and names may have letters that a terminal's code page lacks: spelt out, not an error.
            stream.reconfigure(errors="backslashreplace")
    return status_of(command(), sys.argv[1:] if argv is None else list(argv))


def status_of(command: Any, words: Sequence[str]) -> int:
    """Run these words by a click command; returns the status, and says on stderr what went wrong."""
    told = verbose.set(False)  # by --verbose, for as long as the command runs
    try:
        return _run(command, words)
    finally:
        verbose.reset(told)


def _run(command: Any, words: Sequence[str]) -> int:
    try:
        # Not standalone: click would print its own errors and exit.
        status = command.main(args=list(words), prog_name="hf-stitch", standalone_mode=False)
    except KeyboardInterrupt:
        status = INTERRUPTED
    except SystemExit as ending:
        # click ends so, with status 1, when nobody reads on.
        if isinstance(ending.__context__, BrokenPipeError):
            return _explain(ending.__context__)
        return ending.code if isinstance(ending.code, int) else FAULT
    except Exception as error:
        return _explain(error)
    if status == INTERRUPTED:
        _say("interrupted; the same command again takes up where this one stopped")
    return status if isinstance(status, int) else DONE


def _explain(error: Exception) -> int:
    """Tell what went wrong on stderr; one line, unless it is our fault."""
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains again at exit
        return DONE
    # By names: typer brings a copy of click of its own, whose classes are not click's.
    if type(error).__name__ == "Abort":
        _say("stopped")
        return INTERRUPTED
    line = _mendable(error)
    if line is not None:
        if verbose.get():
            print(visible("".join(traceback.format_exception(error))), file=sys.stderr)
        _say(line)
        return USER_ERROR
    print(visible("".join(traceback.format_exception(error))), file=sys.stderr)
    _say(f"this is a fault of hf_stitch, not yours; please report the lines above on {ISSUES}")
    return FAULT


def _mendable(error: Exception) -> str | None:
    """One line for errors that the user can mend, None for others."""
    if isinstance(error, StitchError):
        return " ".join(str(error).split())
    if hasattr(error, "format_message"):  # wrong words on the command line
        context = getattr(error, "ctx", None)
        where = f"; see {context.command_path} --help" if context is not None else ""
        return " ".join(str(error.format_message()).split()).removesuffix(".") + where
    if disk_is_full(error):
        return _no_space(error)
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EROFS):
        return f"no permission for {error.filename}; choose another folder"
    # torch's error by its name: a command that failed early has not imported torch.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "out of memory; take fewer data.fit.samples or neighborhoods.size, or another --device"
    return None


def _no_space(error: Exception) -> str:
    from hf_stitch.runtime.cache import cache_folder

    name = getattr(error, "filename", None)
    place = Path(name) if isinstance(name, str) else cache_folder()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free / 2**20
    advice = "free some (hf-stitch cache clear) or set HF_STITCH_CACHE to a roomier folder, and run again"
    return f"no space left: {free:.0f} MB free in {place.absolute()}; {advice}: what was computed is kept"


def _say(text: str) -> None:
    print(f"hf-stitch: {visible(text)}", file=sys.stderr)
