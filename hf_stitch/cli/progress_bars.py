"""Progress on stderr: bars with rate and time left on a terminal, elsewhere a plain line every ten seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hf_stitch.cli.visible import visible
from hf_stitch.runtime.progress import Advance, Progress, Silent

EVERY = 10.0  # seconds between lines where no bar can be drawn; by hand


def progress(quiet: bool = False) -> Progress:
    """What suits this stderr; `quiet`: nothing is told."""
    if quiet:
        return Silent()
    return Bars() if sys.stderr.isatty() else Lines()


class Lines:
    """Plain lines: when a stage begins, every `EVERY` seconds of the `clock`, and when it ends."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Advance]:
        # Of a monotonic clock: that of the day may be set back in a run of hours.
        start = last = self.clock()
        done = 0

        def advance(units: int) -> None:
            nonlocal done, last
            done += units
            now = self.clock()
            if now - last >= EVERY:
                last = now
                self.note(f"{name}: {_state(done, total, now - start)}")

        self.note(f"{name}: begins" if total is None else f"{name}: {total} to do")
        yield advance
        self.note(f"{name}: done in {self.clock() - start:.1f} s")

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
        from hf_stitch.cli.plain_console import PlainConsole

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
