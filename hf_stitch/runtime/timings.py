"""Seconds by stage, as the report lists them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class Timings(dict[str, float]):
    """Seconds of each named stage; a stage entered twice adds up."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self[name] = self.get(name, 0.0) + time.perf_counter() - start

    @contextmanager
    def watched(self) -> Iterator[dict[str, float]]:
        """Seconds of the stages that are run inside the block, there when it has ended."""
        before = dict(self)
        found: dict[str, float] = {}
        yield found
        found |= {
            name: seconds - before.get(name, 0.0) for name, seconds in self.items() if seconds != before.get(name)
        }

    def add(self, seconds: Mapping[str, float]) -> None:
        """Take up stages that were run before."""
        for name, value in seconds.items():
            self[name] = self.get(name, 0.0) + value
