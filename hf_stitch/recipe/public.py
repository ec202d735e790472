"""What may be told of this machine: names in the place of paths.

A recipe names models and data as they were asked for, so that it can be run again where they are. What others read
holds `local:NAME` instead: a path tells them nothing but how somebody's machine looks, and a bare name would be taken
for an id of the Hub.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hf_stitch.recipe.names import LOCAL, is_elsewhere, is_in_memory, is_path, is_shipped, is_there, local_path

NAMING = ("model", "dataset", "_name_or_path")  # keys of recipes and configurations whose values name models and data
TABLES = (".csv", ".jsonl", ".parquet")
CACHED = re.compile(r"(?:models|datasets)--(.+)")
"""What a repository's folder in the cache of the Hub is called; its snapshots bear the names of commits."""
PATH = re.compile(
    r"""(?<![\w.:~/<-])  # neither within a word or an address, nor the end tag of HTML
    (?:file://)?(?:~[\w.-]*)?
    (?:/[^\s/"'`<>|,;:()\[\]{}\\*?]+)+/?""",
    re.VERBOSE,
)


def local_names(content: Any) -> dict[str, str]:
    """What stands for each model and data set of a recipe, as plain data, that is a folder or file of this machine now.

    The file system decides, as in loading: a folder `org/model` is taken before the Hub's model of that name.
    """
    found: dict[str, str] = {}
    places: dict[str, str] = {}
    for name in named_in(content):
        if name in found or not _is_here(name):
            continue
        place = os.path.realpath(local_path(name))
        if place not in places:
            # Two models may be called alike, and are two all the same.
            plain = LOCAL + _last_part(name)
            also = [plain, *(f"{plain}-{number}" for number in range(2, len(places) + 2))]
            places[place] = next(one for one in also if one not in places.values())
        found[name] = places[place]
    return found


def is_public(content: Any) -> bool:
    """Whether a recipe, as plain data, has a name in the place of a path."""
    return any(map(is_elsewhere, named_in(content)))


def names_between(own: Any, public: Any) -> dict[str, str]:
    """What stands for which name in a recipe of which the public form was kept: both as plain data."""
    found: dict[str, str] = {}
    if isinstance(own, Mapping) and isinstance(public, Mapping):
        for key in own.keys() & public.keys():
            found |= names_between(own[key], public[key])
    elif isinstance(own, list) and isinstance(public, list):
        for one, other in zip(own, public):
            found |= names_between(one, other)
    elif isinstance(own, str) and isinstance(public, str) and is_elsewhere(public) and not is_elsewhere(own):
        found[own] = public
    return found


def told(content: Any, names: Mapping[str, str]) -> Any:
    """Plain data with the public `names` in place of paths, in keys and texts too; paths of no name keep their end."""
    return _each_text(content, names, _teller(names))


def told_text(text: str, names: Mapping[str, str]) -> str:
    """A text with the public `names` in place of paths."""
    return str(_teller(names)(text))


def bare(path: str) -> str:
    """The last part of a path, where it does not tell who the user is."""
    return _last_part(path.removeprefix("file://"))


def named_in(content: Any) -> Iterator[str]:
    """The texts under one of `NAMING`, however deep, in order."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            if key in NAMING and isinstance(value, str):
                yield value
            elif key == "rehearse" and isinstance(value, Mapping):
                yield from (one for one in value.values() if isinstance(one, str))
            else:
                yield from named_in(value)
    elif isinstance(content, list | tuple):
        for value in content:
            yield from named_in(value)


def _is_here(name: str) -> bool:
    if is_shipped(name) or is_elsewhere(name) or is_in_memory(name):
        return False
    return is_path(name) or is_there(local_path(name)) or Path(name).suffix in TABLES


def _last_part(name: str) -> str:
    path = Path(os.path.abspath(local_path(name)))
    for part in path.parts[:-1]:
        if (cached := CACHED.fullmatch(part)) and path.parent.name == "snapshots":
            return cached[1]
    # The user's own folder bears the user's name.
    return path.name if path.name and path != local_path("~") else "folder"


def _teller(names: Mapping[str, str]) -> Callable[[str], str]:
    """What replaces the names that are paths, in whatever form they stand, and all other paths of this machine."""
    forms: dict[str, str] = {}
    for name, public in names.items():
        path = local_path(name)
        full = {os.path.abspath(path), os.path.realpath(path)} if is_there(path) or path.is_absolute() else set()
        # A single word may be any word of a text.
        forms |= dict.fromkeys([one for one in (name, str(path), *sorted(full)) if "/" in one.strip("/")], public)
    known = "|".join(re.escape(one) for one in sorted(forms, key=len, reverse=True))
    within = re.compile(rf"(?<![\w.~/-])(?:{known})(?![\w-]|/\w|\.\w)") if forms else None

    def tell(text: str) -> str:
        if within is not None:
            text = within.sub(lambda found: forms[found[0]], text)
        return PATH.sub(lambda found: bare(found[0]) if _on_this_machine(found[0]) else found[0], text)

    return tell


def _on_this_machine(path: str) -> bool:
    """Whether it begins with a folder that is there; what was in it may be gone."""
    full = local_path(path.removeprefix("file://"))
    first, home = [Path(*full.parts[:count]) for count in (2, 3)], local_path("~")
    # In a container the user's folder may be the root of all.
    under_home = len(home.parts) > 1 and home in full.parents
    return full.is_absolute() and (under_home or all(map(is_there, first)))


def _each_text(content: Any, names: Mapping[str, str], tell: Callable[[str], str]) -> Any:
    if isinstance(content, str):
        return tell(content)
    if isinstance(content, Mapping):
        return {
            # Elsewhere a name that is a single word may be a column's, or any other.
            _each_text(key, {}, tell): (
                names[value]
                if key in NAMING and isinstance(value, str) and value in names
                else _each_text(value, names, tell)
            )
            for key, value in content.items()
        }
    if isinstance(content, list | tuple):
        return [_each_text(value, names, tell) for value in content]
    return content
