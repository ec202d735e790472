"""Pydantic's findings in the words of a recipe: the key, what came, and the nearest known one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from hf_stitch.errors import nearest


def explain(error: ValidationError, root: type[BaseModel]) -> str:
    """One clause for each offender, in the order in which they stand in the recipe."""
    return "recipe: " + clauses(error, root)


def clauses(error: ValidationError, root: type[BaseModel]) -> str:
    """The same of any part of a recipe, `root`."""
    return "; ".join(dict.fromkeys(_clause(found, root) for found in error.errors()))


def _clause(found: Any, root: type[BaseModel]) -> str:
    place, inside = _places(found["loc"], root)
    where = ".".join(place.keys) or "recipe"
    kind, value = found["type"], found.get("input")
    if kind == "extra_forbidden":
        return _unknown_key(where, place)
    if kind == "missing":
        return f"`{where}` is missing"
    if kind == "literal_error":
        return f"`{where}`: unknown value {value!r}; {nearest(str(value), _words(found['ctx']['expected']))}"
    if kind == "union_tag_invalid":
        key = found["ctx"]["discriminator"].strip("'")
        known = _words(found["ctx"]["expected_tags"])
        told = f"`{where}.{key}`: unknown value {value[key]!r}; {nearest(str(value[key]), known)}"
        unknown = [name for name in value if name not in inside.known()]  # pydantic looked no further than the tag
        return "; ".join(
            [told, *(f"unknown key `{where}.{name}`; {nearest(name, inside.known())}" for name in unknown)]
        )
    if kind == "value_error":
        return str(found["ctx"]["error"])
    return f"`{where}`: {found['msg'].lower()}; got {value!r}"


@dataclass(frozen=True)
class _Place:
    """The dotted keys of a finding, the part in which the last one stands and, of a union, its members and its tag."""

    keys: list[str]
    part: type[BaseModel]
    members: dict[str, type[BaseModel]]
    tag: str = ""

    def known(self) -> set[str]:
        """Keys that may stand there, whichever member of the union it is."""
        return {name for part in self.members.values() or (self.part,) for name in _fields(part)}


def _places(location: tuple[int | str, ...], root: type[BaseModel]) -> tuple[_Place, _Place]:
    """Where the last key of a location stands, and what is inside it."""
    place, inside = _Place([], root, {}), _Place([], root, {})
    for name in location:
        if name in inside.members and not inside.tag:  # pydantic names the member of a union, a recipe does not
            inside = _Place(inside.keys, inside.members[str(name)], inside.members, str(name))
        elif _is_key(name):
            keys = [*inside.keys, str(name)]
            place = _Place(keys, inside.part, inside.members, inside.tag)
            field = _fields(inside.part).get(str(name))
            part = None if field is None else model_in(field.annotation)
            inside = _Place(keys, part or inside.part, {} if field is None else members(field))
    return place, inside


def _unknown_key(where: str, place: _Place) -> str:
    key, known = place.keys[-1], place.known()
    if key not in known:
        return f"unknown key `{where}`; {nearest(key, known)}"
    shared = set.intersection(*(set(_fields(part)) for part in place.members.values()))
    return f"`{where}`: {no_option(place.tag, key, set(_fields(place.part)) - shared)}"


def no_option(method: str, name: str, known: set[str]) -> str:
    """What is said of an option that another method has."""
    return f"method {method} has no option {name!r}; {nearest(name, known)}"


def _words(expected: str) -> list[str]:
    return [word.strip("' ") for word in expected.replace(" or ", ", ").split(", ")]


def _is_key(part: Any) -> bool:
    """Union members add their own type names to the location; keys of the recipe are lower case."""
    text = str(part)
    return isinstance(part, int) or (
        text[0].islower() and "[" not in text and text not in ("int", "str", "float", "dict", "constrained-int")
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
