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
        return f"unknown key `{where}`; {nearest(place.keys[-1], place.known())}"
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
    if kind in ("model_type", "model_attributes_type"):
        return f"`{where}`: expected a mapping of keys; got {value!r}"
    if kind == "value_error":
        return str(found["ctx"]["error"])
    return f"`{where}`: {found['msg'].lower()}; got {value!r}"


@dataclass(frozen=True)
class _Place:
    """The dotted keys of a finding, the part in which the last one stands and, of a union, its members."""

    keys: list[str]
    part: type[BaseModel]
    members: dict[str, type[BaseModel]]

    def known(self) -> set[str]:
        """Keys that may stand there, whichever member of the union it is."""
        return {name for part in self.members.values() or (self.part,) for name in _fields(part)}


def _places(location: tuple[int | str, ...], root: type[BaseModel]) -> tuple[_Place, _Place]:
    """Where the last key of a location stands, and what is inside it."""
    keys: list[str] = []
    part, siblings = root, dict[str, type[BaseModel]]()
    place, tags = _Place([], root, {}), siblings
    for name in location:
        if name in tags:  # pydantic names the member of a union, a recipe does not
            part, siblings, tags = tags[str(name)], tags, {}
        elif _is_key(name):
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
