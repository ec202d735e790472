"""torchaudio, the extra `audio`: there, missing, or installed but unable to load.

One that was built for another torch fails when it is imported, and with it all of transformers' feature extractors,
which only look whether it is installed. It is then hidden from this process, so that all work as if it were missing:
SciPy resamples and our own alignment is used.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType

NAME = "torchaudio"


@dataclass(frozen=True)
class Found:
    """`module` where it loads; `why` it does not where it is installed and broken; both None where it is missing."""

    module: ModuleType | None = None
    why: str | None = None


@lru_cache(maxsize=1)
def torchaudio() -> Found:
    """torchaudio, tried once; a broken one is hidden."""
    if (NAME in sys.modules and sys.modules[NAME] is None) or importlib.util.find_spec(NAME) is None:
        return Found()
    try:
        # Its compiled part is what fails; to find the package says nothing.
        importlib.import_module(f"{NAME}.functional")
    except Exception as error:  # a library of another torch fails in many ways
        _hide()
        first = (str(error).strip().splitlines() or [""])[0]
        return Found(why=f"{type(error).__name__}: {first}")
    return Found(sys.modules[NAME])


def trouble() -> str | None:
    """One line where torchaudio is installed but cannot load, else None."""
    why = torchaudio().why
    if why is None:
        return None
    return (
        f"torchaudio {version()} is installed but cannot load ({why}), so it is left aside: SciPy resamples; install "
        "the torch that it was built for (extra `audio`), or uninstall it"
    )


def version() -> str | None:
    """Of the installed torchaudio, whether it loads or not; None without one."""
    try:
        return importlib.metadata.version(NAME)
    except importlib.metadata.PackageNotFoundError:
        return None


def _hide() -> None:
    """Make it look missing: None in sys.modules stands for a module that cannot be had."""
    for name in [name for name in sys.modules if name.split(".")[0] == NAME]:
        del sys.modules[name]
    sys.modules[NAME] = None  # type: ignore[assignment]
    known = sys.modules.get("transformers.utils.import_utils")
    if known is not None:
        # transformers may have looked already, and remembers what it found.
        known.is_torchaudio_available.cache_clear()
