"""What a run finds beside its result, which it must not cost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

LONGEST = 300  # letters of a reason; by hand


@contextmanager
def extra(name: str, warnings: list[str]) -> Iterator[None]:
    """A finding that may fail: the warnings then say so, with the reason, and the run goes on without it."""
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split())[:LONGEST]
        warnings.append(f"{name}: left out, since it failed ({type(error).__name__}{': ' * bool(reason)}{reason})")
