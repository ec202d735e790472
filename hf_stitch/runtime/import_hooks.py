"""Registers with transformers' pipelines when they are loaded: importing hf_stitch is enough, and stays light."""

from __future__ import annotations

import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import Any

PIPELINES = "transformers.pipelines"
SOUND = "transformers.audio_utils"  # fails, with all feature extractors, where torchaudio is there but cannot load


class Arrival(MetaPathFinder):
    """Finds the module as anybody does, and calls `then` once it has been loaded."""

    def __init__(self, name: str, then: Callable[[], None]) -> None:
        self.name, self.then = name, then

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> Any:
        if name != self.name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is None or spec.loader is None:
            return spec
        # Replaced on this one loader, made for this one import: nothing else is touched.
        load = spec.loader.exec_module

        def loaded(module: ModuleType) -> None:
            load(module)
            self.then()

        spec.loader.exec_module = loaded  # type: ignore[method-assign]
        return spec


class Departure(MetaPathFinder):
    """Calls `first` when the module is about to be imported, and leaves finding it to others."""

    def __init__(self, name: str, first: Callable[[], Any]) -> None:
        self.name, self.first = name, first

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        if name == self.name:
            sys.meta_path.remove(self)
            self.first()


def before_loaded(name: str, first: Callable[[], Any]) -> None:
    """Call `first` before the module of that name is imported; never where it is already."""
    if name not in sys.modules:
        sys.meta_path.insert(0, Departure(name, first))


def when_loaded(name: str, then: Callable[[], None]) -> None:
    """Call `then` after the module of that name has been imported, at once where it is already."""
    if name in sys.modules:
        then()
    else:
        sys.meta_path.insert(0, Arrival(name, then))
