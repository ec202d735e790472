"""The similarity measures that there are: `<name>.py` in this folder, with one class that is a `Similarity`."""

from __future__ import annotations

import importlib
from pathlib import Path

from hf_stitch.errors import FitError, nearest
from hf_stitch.geometry.similarity.base import Similarity

_NO_MEASURES = ("__init__", "base", "catalogue")


def names() -> list[str]:
    """Names of all measures, sorted."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in _NO_MEASURES)


def measure(name: str) -> type[Similarity]:
    """The class of a measure. Raises FitError naming the nearest for an unknown one."""
    if name not in names():
        raise FitError(f"expected the name of a similarity measure, received {name!r}; {nearest(name, names())}")
    module = importlib.import_module(f"{__package__}.{name}")
    (found,) = (one for one in vars(module).values() if _is_measure(one) and one.__module__ == module.__name__)
    return found


def _is_measure(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Similarity)
