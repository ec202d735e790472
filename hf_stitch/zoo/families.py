"""The families of the zoo: every folder here that holds a `family.py`, found by its name.

Such a file names models and data sets and makes them:

- `ORDER`, its place among the families; those measured on another's data come later.
- `MODELS`, `DATA`, names that ship; `RENDERED`, data made in the user's cache when first opened: they would be large.
- `CARDS`, by the name of a model or its first part: task of the Hub or None, and what the model is.
- `train(name, folder, progress)` gives the seed and what was done, `figures(name, folder, shipped)` what the model
  reaches, `write_data(name, folder, progress)` writes a data set, `stamp(name)` is of what a rendered one depends on.
- `speaks(name)`: making it needs espeak-ng.
"""

from __future__ import annotations

import functools
import pkgutil
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

Progress = Callable[[str], None]
Shipped = Callable[[str], Path | None]
"""Folder of a part (`data/opinions`, `models/wav2vec2-speech`) beside what is built, else of the package, else None."""
REGISTER = "Call `hf_stitch.register()` before `AutoModel.from_pretrained`."


class Family(Protocol):
    """A `family.py`."""

    ORDER: int
    MODELS: tuple[str, ...]
    DATA: tuple[str, ...]
    RENDERED: tuple[str, ...]
    CARDS: Mapping[str, tuple[str | None, str]]

    def train(self, name: str, folder: Path, progress: Progress) -> tuple[int, dict[str, float]]: ...

    def figures(self, name: str, folder: Path, shipped: Shipped) -> dict[str, float]: ...

    def write_data(self, name: str, folder: Path, progress: Progress) -> None: ...

    def stamp(self, name: str) -> str: ...

    def speaks(self, name: str) -> bool: ...


@functools.cache
def families() -> tuple[Family, ...]:
    """All families, in their order."""
    package = import_module(__package__)
    folders = [one.name for one in pkgutil.iter_modules(package.__path__, f"{__package__}.") if one.ispkg]
    found = [import_module(f"{folder}.family") for folder in folders if find_spec(f"{folder}.family")]
    return tuple(sorted(found, key=lambda one: one.ORDER))


def family_of(name: str) -> Family:
    """The family of a model or data set that there is."""
    [found] = [one for one in families() if name in (*one.MODELS, *one.DATA, *one.RENDERED)]
    return found
