"""How long work tells how far it is: what is shown of it, and where, is chosen in `progress_bars`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int], None]
"""Says that so many more units (samples, neighbours, bytes) are done."""


class Progress(Protocol):
    """What long work may be handed."""

    def stage(self, name: str, total: int | None = None) -> AbstractContextManager[Advance]:
        """Open a named stage of `total` units (None: unknown); the context yields a function that advances it."""
        ...

    def note(self, text: str) -> None:
        """Tell one line, such as a warning that is no error."""
        ...


class Silent:
    """A `Progress` that tells nobody."""

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Advance]:
        yield lambda units: None

    def note(self, text: str) -> None:
        return None
