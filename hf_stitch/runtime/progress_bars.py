"""Progress on stderr: bars with rate and time left on a terminal, elsewhere a plain line every ten seconds."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from hf_stitch.runtime.progress import Advance, Progress, Silent
from hf_stitch.runtime.visible import visible

EVERY = 10.0  # seconds between lines where no bar can be drawn; by hand


def progress(quiet: bool = False) -> Progress:
    """What suits this stderr; `quiet`: nothing is told."""
    if quiet:
        return Silent()
    return Bars() if sys.stderr.isatty() else Lines()


def chosen(asked: Progress | bool | None = None) -> Progress:
    """The progress that a caller of the library asked for: an object of its own, or by True and False.

    Absent: shown, unless transformers' or datasets' bars are switched off, or transformers tells errors alone.
    """
    if asked is None or isinstance(asked, bool):
        return progress(quiet=_libraries_are_quiet() if asked is None else not asked)
    return asked


def _libraries_are_quiet() -> bool:
    import datasets
    from transformers.utils import logging

    # As transformers' Trainer, which draws its bars down to the level of warnings.
    tells = logging.is_progress_bar_enabled() and logging.get_verbosity() <= logging.WARNING
    return not tells or datasets.are_progress_bars_disabled()


class Lines:
    """Plain lines: when a stage begins, every `EVERY` seconds of the `clock`, and when it ends.

    Of a stage whose end is not known, such as one large solve, a thread of its own tells that it still goes on.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, every: float = EVERY) -> None:
        self.clock, self.every = clock, every

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Advance]:
        # Of a monotonic clock: that of the day may be set back in a run of hours.
        start = last = self.clock()
        done = 0

        def advance(units: int) -> None:
            nonlocal done, last
            done += units
            now = self.clock()
            if now - last >= self.every:
                last = now
                self.note(f"{name}: {_state(done, total, now - start)}")

        self.note(f"{name}: begins" if total is None else f"{name}: {total} to do")
        with self._alive(name, start) if total is None else nullcontext():
            yield advance
        self.note(f"{name}: done in {self.clock() - start:.1f} s")

    @contextmanager
    def _alive(self, name: str, start: float) -> Iterator[None]:
        over = threading.Event()

        def tell() -> None:
            while not over.wait(self.every):
                self.note(f"{name}: {self.clock() - start:.0f} s so far")

        telling = threading.Thread(target=tell, daemon=True)
        telling.start()
        try:
            yield
        finally:
            over.set()
            telling.join()

    def note(self, text: str) -> None:
        print(visible(text), file=sys.stderr, flush=True)


def _state(done: int, total: int | None, seconds: float) -> str:
    rate = done / seconds if seconds else 0.0
    if total is None:
        return f"{done}, {rate:.1f} a second"
    left = f", {(total - done) / rate:.0f} s left" if rate and done < total else ""
    return f"{done} of {total}, {rate:.1f} a second{left}"


class Bars:
    """Rich's bars; a finished stage stays as one line."""

    def __init__(self) -> None:
        from hf_stitch.runtime.plain_console import PlainConsole

        self.console = PlainConsole(stderr=True)

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Advance]:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        columns = (
            TextColumn("{task.description:<28}", markup=False),
            BarColumn(24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with RichProgress(*columns, console=self.console, refresh_per_second=4) as bars:
            task = bars.add_task(visible(name), total=total, rate="")

            def advance(units: int) -> None:
                bars.advance(task, units)
                speed = bars.tasks[0].speed
                bars.update(task, rate=f"{speed:.1f}/s" if speed else "")

            yield advance

    def note(self, text: str) -> None:
        self.console.print(text)
