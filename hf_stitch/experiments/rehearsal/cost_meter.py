"""Seconds and memory of each stage of a rehearsal."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

EVERY = 0.005  # seconds between two looks at the memory; by hand


@dataclass(frozen=True)
class Cost:
    """What a stage took: wall-clock seconds, and resident bytes above those at its start, at most."""

    seconds: float = 0.0
    memory: int = 0


class Watch(dict[str, Cost]):
    """Costs by stage; `resident` is the largest resident size of the process seen so far."""

    def __init__(self) -> None:
        super().__init__()
        self._process = psutil.Process()
        self.resident = self._process.memory_info().rss

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure what runs inside; the memory by sampling, so very short peaks may be missed."""
        before, start, done = self._look(), time.perf_counter(), threading.Event()
        highest = before

        def look() -> None:
            nonlocal highest
            while not done.wait(EVERY):
                highest = max(highest, self._look())

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            self[name] = Cost(time.perf_counter() - start, max(highest, self._look()) - before)

    def _look(self) -> int:
        now: int = self._process.memory_info().rss
        self.resident = max(self.resident, now)
        return now
