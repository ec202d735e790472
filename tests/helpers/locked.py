"""Whether the packages here are those of a lock: warnings of libraries are errors under known versions alone."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / ".ci").glob("constraints*.txt"))
AS_ERRORS = "error:::hf_stitch"  # a warning that comes out of a line of hf_stitch


def named(requirement: str) -> str:
    """The package that a requirement is for, as locks and metadata may both spell it."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()


def direct() -> set[str]:
    """Packages that hf_stitch itself asks for, without extras: those whose warnings can come out of its lines."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {named(requirement) for requirement in project["dependencies"]}


def versions(lock: Path) -> dict[str, str]:
    """Version by package of the lines `package==version`."""
    lines = lock.read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    return {named(package): version.strip() for package, version in pairs}


def holds(lock: Path, packages: Iterable[str]) -> bool:
    """Whether all of the packages are installed in the version of the lock; 2.13.0+cpu is a build of 2.13.0."""
    wanted = versions(lock)
    try:
        return all(importlib.metadata.version(one).split("+")[0] == wanted.get(one) for one in packages)
    except importlib.metadata.PackageNotFoundError:
        return False


def locked() -> bool:
    """Whether this environment is one of .ci's."""
    return any(holds(lock, direct()) for lock in LOCKS)
