"""What the name of a model or data set may be: `zoo:NAME`, a path on this machine, or an id of the Hub.

`local:NAME` is what is told of a path elsewhere, see `hf_stitch.recipe.public`: a name, with which nothing is found.
`memory:NAME` stands for an object that somebody holds: it is found in what is handed over beside the recipe alone.
"""

from __future__ import annotations

import os
from pathlib import Path

ZOO = "zoo:"
LOCAL = "local:"
MEMORY = "memory:"


def is_shipped(name: str) -> bool:
    """True for a name of the zoo, which comes with the package."""
    return name.startswith(ZOO)


def is_elsewhere(name: str) -> bool:
    """True for the public name of a folder or file that another machine has, or this one in a place not told."""
    return name.startswith(LOCAL)


def is_in_memory(name: str) -> bool:
    """True for the name of a model or data set that is an object of somebody's Python."""
    return name.startswith(MEMORY)


def without_zoo(name: str) -> str:
    """The name of the zoo's part, for names with the `zoo:` or without it."""
    return name.removeprefix(ZOO)


def is_path(name: str) -> bool:
    """True for a name that can only be a path, there or not: `./x`, `/x`, `~/x`, or more slashes than a Hub id has."""
    return name.startswith((".", "/", "~")) or name.count("/") > 1


def is_local(name: str) -> bool:
    """True for a name that is never asked of the Hub: shipped, in memory, a path, or something that is there."""
    return is_shipped(name) or is_elsewhere(name) or is_in_memory(name) or is_path(name) or is_there(local_path(name))


def local_path(name: str | os.PathLike[str]) -> Path:
    """The path of a name, with `~` as the user's folder; `~nobody`, who has none, stays as it is."""
    try:
        return Path(name).expanduser()
    except RuntimeError:
        return Path(name)


def is_there(path: Path) -> bool:
    """Whether it exists; a name that is too long for any file does not, where `Path.exists` raises."""
    try:
        return path.exists()
    except (OSError, ValueError):  # ValueError: a name with a zero byte
        return False


def is_file(path: Path) -> bool:
    """`Path.is_file`, see `is_there`."""
    return is_there(path) and path.is_file()


def is_folder(path: Path) -> bool:
    """`Path.is_dir`, see `is_there`."""
    return is_there(path) and path.is_dir()
