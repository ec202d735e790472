"""The keys of a recipe and the stitching methods as tables, from the schema itself."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hf_stitch.recipe.explain import members, model_in
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.recipe.side import Every
from hf_stitch.recipe.stitch import DEFAULT, METHODS, Stitch

Row = tuple[str, str, str, str]


def recipe_keys() -> list[Row]:
    """(key, values, default, meaning) of every key, parts before their own keys."""
    return list(_keys(Recipe, ""))


def methods_table() -> str:
    """The stitching methods as a Markdown table: what each is, what it asks for, and the options of its own."""
    lines = ["| `stitch.method` | what it is | needs | options |", "|---|---|---|---|"]
    for method, one in METHODS.items():
        options = ", ".join(f"`{name}`" for name in one.option_names())
        default = " (default)" if method == DEFAULT.method else ""
        lines.append(f"| `{method}`{default} | {one.summary} | {', '.join(_needs(one))} | {options} |")
    return "\n".join(lines) + "\n"


def _needs(method: type[Stitch]) -> list[str]:
    needs = {
        "more rows than source features": method.keeps_rows,
        "local metrics (`neighborhoods`)": method.needs_metric,
        "hook points of one width": method.widths_equal,
        "training through both halves": method.trained,
    }
    return [words for words, needed in needs.items() if needed]


def _keys(model: type[BaseModel], above: str) -> Iterator[Row]:
    for name, field in model.model_fields.items():
        key = above + (field.alias or name)
        inside = model_in(field.annotation)
        part = inside if inside not in (None, Every) else None
        yield key, "..." if part else _values(field), _default(field, part), field.description or ""
        if members(field):
            yield from _stitch_keys(f"{key}.")
        # source and target, and the three sets of samples, have the same keys
        elif part and (name not in ("target", "validation", "test")):
            yield from _keys(part, f"{key}.NAME." if get_origin(field.annotation) is dict else f"{key}.")


def _stitch_keys(above: str) -> Iterator[Row]:
    """The keys of all methods, those of each with its name before the meaning."""
    summaries = "; ".join(f"{method}: {one.summary}" for method, one in METHODS.items())
    yield f"{above}method", " | ".join(METHODS), DEFAULT.method, summaries
    yield from (row for row in _keys(Stitch, above) if row[0] != f"{above}method")
    for name in dict.fromkeys(name for one in METHODS.values() for name in one.option_names()):
        takers = {method: one for method, one in METHODS.items() if name in one.model_fields}
        field = next(iter(takers.values())).model_fields[name]
        meaning = f"{', '.join(takers)}: {field.description or ''}"
        yield above + name, _values(field), _defaults(name, takers), meaning


def _defaults(name: str, takers: Mapping[str, type[Stitch]]) -> str:
    """What the methods take an absent option for; with their names where they differ."""
    found = {method: str(one.defaults[name]) for method, one in takers.items() if name in one.defaults}
    if len(found) == len(takers) and len(set(found.values())) == 1:
        return next(iter(found.values()))
    return ", ".join(f"{method}: {value}" for method, value in found.items())


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
