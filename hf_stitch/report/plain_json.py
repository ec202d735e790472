"""Plain JSON data: turned into it, and read from it."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any


def part(plain: Any, *keys: str) -> dict[str, Any]:
    """A nested mapping, empty where there is none."""
    for key in keys:
        plain = plain.get(key) if isinstance(plain, Mapping) else None
    return dict(plain) if isinstance(plain, Mapping) else {}


def texts(found: Any) -> list[str]:
    """The texts of a list that are not empty; none where there is no list."""
    return [str(text) for text in found if text] if isinstance(found, list) else []


def as_plain(value: Any, path: str, notes: list[str]) -> Any:
    """Plain JSON data of nested containers, numpy or torch values; what is not finite becomes null, with a note.

    Raises TypeError, with the `path` of the value, for anything else.
    """
    if isinstance(value, dict):
        return {str(key): as_plain(item, f"{path}.{key}", notes) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_plain(item, path, notes) for item in value]
    # numpy and torch alike, without importing either.
    if hasattr(value, "tolist"):
        return as_plain(value.tolist(), path, notes)
    if isinstance(value, float) and not math.isfinite(value):
        notes.append(f"no value: {path} held {value}")
        return None
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"expected JSON-able data at {path}, received {type(value).__name__}; convert it before the report")
