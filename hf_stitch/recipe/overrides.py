"""Changes to plain recipe data: nested updates, and `key=value` words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from hf_stitch.errors import RecipeError
from hf_stitch.recipe.plain import DEEPEST, read_yaml


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Nested update; returns a new mapping."""
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def overrides_between(base: Mapping[str, Any], other: Mapping[str, Any], above: str = "") -> list[str]:
    """The `key=value` words that make the other recipe of the base; what is absent there is taken back by null."""
    words = []
    for key in dict.fromkeys([*other, *base]):
        before, after = base.get(key), other.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            if before.get("method") != after.get("method"):
                before = dict.fromkeys(before)  # another method begins without the options of the one before
            words += overrides_between(before, after, f"{above}{key}.")
        elif before != after:
            text = yaml.safe_dump(after, default_flow_style=True, width=math.inf).removesuffix("...\n").strip()
            words.append(f"{above}{key}={text}")
    return words


def apply_overrides(content: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Apply `a.b.c=value` words; values are read as YAML."""
    result = dict(content)
    for word in overrides:
        key, equals, text = word.partition("=")
        parts = [part.strip() for part in key.split(".")]
        if not equals or not all(parts) or len(parts) > DEEPEST:
            raise RecipeError(f"override {word[:80]!r}: expected key=value, such as data.fit.samples=64")
        try:
            # As in a recipe's file, so that 1, true, null and [a, b] mean the same in both.
            value = read_yaml(text)
        except RecipeError as error:
            raise RecipeError(f"override {word[:80]!r}: {error}") from None
        for part in reversed(parts):
            value = {part: value}
        result = merge(result, value)
    return result
