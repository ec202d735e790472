"""Pydantic's findings in the words of a recipe: the key, what came, and the nearest known one."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ValidationError

from hf_stitch.errors import nearest


def explain(error: ValidationError, root: type[BaseModel]) -> str:
    """One clause for each offender, in the order in which they stand in the recipe."""
    lines = dict.fromkeys(_line(found, root) for found in error.errors())
    return "recipe: " + "; ".join(lines)


def _line(found: Any, root: type[BaseModel]) -> str:
    # Union members add their own type names to the location; keys of the recipe are lower case.
    keys = [str(part) for part in found["loc"] if _is_key(part)]
    where = ".".join(keys) or "recipe"
    kind, value = found["type"], found.get("input")
    if kind == "extra_forbidden":
        return f"unknown key `{where}`; {nearest(keys[-1], known_keys(root, keys[:-1]))}"
    if kind == "missing":
        return f"`{where}` is missing"
    if kind == "literal_error":
        known = [word.strip("' ") for word in found["ctx"]["expected"].replace(" or ", ", ").split(", ")]
        return f"`{where}`: unknown value {value!r}; {nearest(str(value), known)}"
    if kind == "value_error":
        return str(found["ctx"]["error"])
    return f"`{where}`: {found['msg'].lower()}; got {value!r}"


def _is_key(part: Any) -> bool:
    text = str(part)
    return isinstance(part, int) or (
        text[0].islower() and "[" not in text and text not in ("int", "str", "float", "dict")
    )


def known_keys(root: type[BaseModel], path: list[str]) -> list[str]:
    """Names that are known at a dotted place of the recipe."""
    model: Any = root
    for key in path:
        fields = {(field.alias or name): field for name, field in model.model_fields.items()}
        if key not in fields:
            break
        model = model_in(fields[key].annotation) or model
    return [field.alias or name for name, field in model.model_fields.items()]


def model_in(annotation: Any) -> type[BaseModel] | None:
    """The part that a field holds, if it holds one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in getattr(annotation, "__args__", ()):
        inside = model_in(part)
        if inside is not None:
            return inside
    return None
