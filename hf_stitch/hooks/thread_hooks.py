"""Hooks that fire in the passes of one thread: a web server answers from one model in many threads at once."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock, get_ident
from typing import Any

from torch.utils.hooks import RemovableHandle

# torch numbers its handles by a counter that two threads may read at once: one hook would take the other's place.
_registering = Lock()


def add_hook(register: Callable[..., RemovableHandle], hook: Callable[..., Any], **options: Any) -> RemovableHandle:
    """Register a hook that does nothing in passes of other threads.

    Args:
        register: a module's `register_forward_hook` or `register_forward_pre_hook`. options: for it.
    """
    thread = get_ident()

    def own(*args: Any) -> Any:
        return hook(*args) if get_ident() == thread else None

    with _registering:
        return register(own, **options)
