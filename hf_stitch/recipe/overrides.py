"""Changes to plain recipe data: nested updates, and `key=value` words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from hf_stitch.errors import RecipeError


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Nested update; returns a new mapping."""
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def apply_overrides(content: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Apply `a.b.c=value` words; values are read as YAML."""
    result = dict(content)
    for word in overrides:
        key, equals, text = word.partition("=")
        if not equals or not key.strip():
            raise RecipeError(f"override {word!r}: expected key=value, such as data.fit.samples=64")
        try:
            # As in a recipe's file, so that 1, true, null and [a, b] mean the same in both.
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            raise RecipeError(f"override {word!r}: the value is not YAML; quote it") from None
        for part in reversed(key.strip().split(".")):
            value = {part: value}
        result = merge(result, value)
    return result
