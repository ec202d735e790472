"""What leaves this machine: names in place of paths.

A folder that a fit wrote names models and data as they were asked for, so that the fit can be run again here. On the
Hub an absolute path tells nobody where to find them, and tells everybody about the machine.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from hf_stitch.recipe.names import ZOO, is_path, is_shipped
from hf_stitch.zoo.catalogue import ROOT

TEXTS = (".json", ".yaml", ".md", ".html")
KEYS = ("model", "dataset", "_name_or_path", "name_or_path")  # of configurations, recipes and reports


def public_copy(folder: Path, scratch: Path) -> Path:
    """The folder itself where it names no path of this machine, else a copy in `scratch` that has names in their place.

    Weights are linked, not copied, where the file system can.
    """
    names = local_names(folder)
    if not names:
        return folder
    for path in [one for one in folder.rglob("*") if one.is_file()]:
        place = scratch / path.relative_to(folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in TEXTS:
            place.write_text(_replaced(path.read_text(encoding="utf-8"), names), encoding="utf-8", newline="\n")
        else:
            _linked(path, place)
    return scratch


def local_names(folder: Path) -> dict[str, str]:
    """Paths of this machine that a saved folder names, and what stands for each: its last part, or a `zoo:` name."""
    content: list[Any] = []
    for name in ("config.json", "report.json"):
        if (folder / name).is_file():
            content.append(json.loads((folder / name).read_text(encoding="utf-8")))
    if (folder / "recipe.yaml").is_file():
        content.append(yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8")))
    found = {name for one in content for name in _named(one) if _is_of_this_machine(name)}
    return {name: _public(name) for name in sorted(found, key=len, reverse=True)}  # a path before those above it


def _named(content: Any) -> Iterator[str]:
    """All texts under one of KEYS, however deep."""
    if isinstance(content, dict):
        for key, value in content.items():
            if key in KEYS and isinstance(value, str):
                yield value
            yield from _named(value)
    elif isinstance(content, list):
        for value in content:
            yield from _named(value)


def _is_of_this_machine(name: str) -> bool:
    return not is_shipped(name) and (is_path(name) or ("/" in name and Path(name).exists()))


def _public(name: str) -> str:
    path = Path(name).expanduser()
    shipped = ROOT in path.parents
    return f"{ZOO}{path.name}" if shipped else path.name or "model"


def _replaced(text: str, names: dict[str, str]) -> str:
    for name, public in names.items():
        text = text.replace(json.dumps(name)[1:-1], public).replace(name, public)
    return text


def _linked(path: Path, place: Path) -> None:
    try:
        os.link(path.resolve(), place)
    except OSError:  # another file system, or one without links
        shutil.copyfile(path, place)
