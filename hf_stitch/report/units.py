"""Sizes, seconds and folder names as people read them."""

from __future__ import annotations

import re


def folder_of(name: str) -> str:
    """The folder into which a recipe of that name is written by default, harmless on a command line."""
    return "stitched/" + re.sub(r"[^\w.-]+", "-", name)


def size(count: float, units: tuple[str, ...] = ("B", "kB", "MB", "GB", "TB"), step: float = 1000.0) -> str:
    """A byte count in words."""
    index = 0
    while abs(count) >= step and index < len(units) - 1:
        count, index = count / step, index + 1
    return f"{count:.0f} {units[index]}" if index == 0 or count >= 100 else f"{count:.1f} {units[index]}"


def seconds(value: float) -> str:
    """A duration in words."""
    # By hand: below, minutes are no easier to read.
    if value >= 90:
        return f"{value / 60:.1f} min"
    return f"{value:.1f} s" if value >= 1 else f"{1000 * value:.0f} ms"
