"""Pydantic's findings in the words of a recipe: the key, what came, and the nearest known one."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from hf_stitch.errors import nearest

CLAUSES = 20  # offenders told by name; by hand
LONGEST = 160  # characters told of a key or a value; by hand
OF_A_KEY = ("extra_forbidden", "missing", "invalid_key")  # pydantic's findings whose place ends with a key, not a value
_CUT = reprlib.Repr()
_CUT.maxdict = _CUT.maxlist = _CUT.maxtuple = _CUT.maxset = 10
_CUT.maxstring = _CUT.maxlong = _CUT.maxother = LONGEST


def explain(error: ValidationError, root: type[BaseModel]) -> str:
    """One clause for each offender, in the order in which they stand in the recipe."""
    return "recipe: " + clauses(error, root)


def clauses(error: ValidationError, root: type[BaseModel]) -> str:
    """The same of any part of a recipe, `root`."""
    told = list(dict.fromkeys(_clause(found, root) for found in error.errors(include_url=False)))
    rest = [f"and {len(told) - CLAUSES} more"] if len(told) > CLAUSES else []
    return "; ".join(told[:CLAUSES] + rest)


def _clause(found: Any, root: type[BaseModel]) -> str:
    kind, value = found["type"], found.get("input")
    place, inside = _places(found["loc"], root, kind in OF_A_KEY)
    where = shortened(".".join(place.keys)) or "recipe"
    if kind == "extra_forbidden":
        return _unknown(where, place.keys[-1], place.known())
    if kind == "missing":
        return f"`{where}` is missing"
    if kind == "invalid_key":
        return f"`{where}`: expected a key in letters; {nearest(place.keys[-1], place.known())}"
    if kind == "literal_error":
        return f"`{where}`: unknown value {cut(value)}; {_nearest(value, _words(found['ctx']['expected']))}"
    if kind == "union_tag_invalid":
        key = found["ctx"]["discriminator"].strip("'")
        known = _words(found["ctx"]["expected_tags"])
        told = f"`{where}.{key}`: unknown value {cut(value[key])}; {_nearest(value[key], known)}"
        unknown = [name for name in value if name not in inside.known()]  # pydantic looked no further than the tag
        return "; ".join(
            [told, *(_unknown(shortened(f"{where}.{name}"), str(name), inside.known()) for name in unknown)]
        )
    if kind in ("model_type", "model_attributes_type"):
        return f"`{where}`: expected a mapping of keys; got {cut(value)}"
    if kind == "value_error":
        return str(found["ctx"]["error"])
    return f"`{where}`: {found['msg'].lower()}; got {cut(value)}"


def _unknown(where: str, name: str, known: set[str]) -> str:
    return f"unknown key `{where}`; {_nearest(name, known)}"


def _nearest(value: Any, known: Iterable[str]) -> str:
    # Longer ones are near to nothing, and would take long.
    return nearest(value if isinstance(value, str) and len(value) <= LONGEST else cut(value), known)


def cut(value: Any) -> str:
    """A value as it is told: a large one by its beginning, since what is shared in it has no end on paper."""
    return shortened(_CUT.repr(value))


def shortened(text: str) -> str:
    """A text of one line that is not too long to be told."""
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


@dataclass(frozen=True)
class _Place:
    """The dotted keys of a finding, the part in which the last one stands and, of a union, its members."""

    keys: list[str]
    part: type[BaseModel]
    members: dict[str, type[BaseModel]]

    def known(self) -> set[str]:
        """Keys that may stand there, whichever member of the union it is."""
        return {name for part in self.members.values() or (self.part,) for name in _fields(part)}


def _places(location: tuple[int | str, ...], root: type[BaseModel], to_key: bool) -> tuple[_Place, _Place]:
    """Where the last key of a location stands, and what is inside it; `to_key`: its last word is a key for sure."""
    keys: list[str] = []
    part, siblings = root, dict[str, type[BaseModel]]()
    place, tags = _Place([], root, {}), siblings
    for i, name in enumerate(location):
        last = to_key and i == len(location) - 1  # whatever it looks like
        if name in tags and not last:  # pydantic names the member of a union, a recipe does not
            part, siblings, tags = tags[str(name)], tags, {}
        elif last or _is_key(name):
            keys = [*keys, str(name)]
            place = _Place(keys, part, siblings)
            field = _fields(part).get(str(name))
            siblings, tags = {}, {} if field is None else members(field)
            part = (model_in(field.annotation) if field else None) or part
    return place, _Place(keys, part, siblings or tags)


def _words(expected: str) -> list[str]:
    return [word.strip("' ") for word in expected.replace(" or ", ", ").split(", ")]


def _is_key(part: Any) -> bool:
    """Union members add their own type names to the location; keys of the recipe are lower case."""
    text = str(part)
    return isinstance(part, int) or (
        text[:1].islower() and "[" not in text and text not in ("int", "str", "float", "dict", "constrained-int")
    )


def _fields(part: type[BaseModel]) -> dict[str, FieldInfo]:
    return {(field.alias or name): field for name, field in part.model_fields.items()}


def members(field: FieldInfo) -> dict[str, type[BaseModel]]:
    """The parts that a field of a discriminated union may hold, by their tags; none of any other field."""
    key = field.discriminator
    if not isinstance(key, str):
        return {}
    return {get_args(one.model_fields[key].annotation)[0]: one for one in get_args(field.annotation)}


def model_in(annotation: Any) -> type[BaseModel] | None:
    """The part that a field holds, if it holds one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in getattr(annotation, "__args__", ()):
        inside = model_in(part)
        if inside is not None:
            return inside
    return None
