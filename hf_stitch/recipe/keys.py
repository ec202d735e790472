"""The keys of a recipe as a table, from the schema itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hf_stitch.recipe.explain import model_in
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.recipe.side import Every


def recipe_keys() -> list[tuple[str, str, str, str]]:
    """(key, values, default, meaning) of every key, parts before their own keys."""
    return list(_keys(Recipe, ""))


def _keys(model: type[BaseModel], above: str) -> Iterator[tuple[str, str, str, str]]:
    for name, field in model.model_fields.items():
        key = above + (field.alias or name)
        inside = model_in(field.annotation)
        part = inside if inside not in (None, Every) else None
        yield key, "..." if part else _values(field), _default(field, part), field.description or ""
        # source and target, and the three sets of samples, have the same keys
        if part and (name not in ("target", "validation", "test")):
            yield from _keys(part, f"{key}.")


def _values(field: FieldInfo) -> str:
    text = str(field.annotation).replace("typing.", "")
    text = re.sub(r"Literal\[(.*?)\]", lambda found: found[1].replace("'", "").replace(", ", " | "), text)
    text = re.sub(r"Annotated\[int, Gt\(gt=0\)\]|<class '(\w+)'>", lambda found: found[1] or "int", text)
    text = re.sub(r"(?:Union|Optional)\[(.*)\]", lambda found: found[1].replace(", ", " | "), text)
    return text.removesuffix(" | None").removesuffix(" | NoneType").replace("Every", "{every: k}")


def _default(field: FieldInfo, part: Any) -> str:
    if field.is_required():
        return "required"
    return "" if part or field.default in (None, "", []) else str(field.default)
