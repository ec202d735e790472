"""What a fit was made of, so that its folder does not answer for another: content of data and models, device, dtype."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hf_stitch.errors import StitchError
from hf_stitch.loading.models import resolve
from hf_stitch.loading.objects.held import NOTHING, Objects
from hf_stitch.loading.provenance import commit_of, data_files, fingerprint_of
from hf_stitch.recipe.data import Data
from hf_stitch.recipe.digest import digest
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.recipe.side import SIDES, Side
from hf_stitch.runtime.device import pick_device, pick_dtype

SPLITS = ("fit", "validation", "test")
Stamps = dict[str, str | None]
"""By what it is of, such as `data.fit`; None where that is not there, or not to be compared."""


def stamps_of(recipe: Recipe, device: Any = None, dtype: Any = None, objects: Objects = NOTHING) -> Stamps:
    """The stamps of a fit that is asked for; nothing is loaded.

    Args:
        objects: models and rows in memory that it names.

    Raises:
        RecipeError: no such device or dtype.
    """
    found: Stamps = {}
    own = _parts(recipe)
    for label, variant in recipe.variants():
        for name, part in _parts(variant).items():
            # A comparison may be about models or data of its own.
            key = name if part == own.get(name) else f"{label}: {name}"
            if key not in found:
                found[key] = _model_stamp(part, objects) if isinstance(part, Side) else _data_stamp(part, name, objects)
    # The best device that there is need not be that of another day, and the result would serve as well.
    found["device"] = None if device is None else pick_device(device).type
    found["dtype"] = str(pick_dtype(dtype) or "their own").removeprefix("torch.")
    return found


def changed_stamps(known: Any, now: Stamps) -> list[str]:
    """What is other now than in a report's stamps, where both are known."""
    told = known if isinstance(known, Mapping) else {}
    return [name for name, one in now.items() if one is not None and told.get(name) not in (None, one)]


def _parts(recipe: Recipe) -> dict[str, Side | Data]:
    """Models and data of a recipe by name."""
    sides: dict[str, Side | Data] = {name: getattr(recipe, name) for name in SIDES}
    splits = {f"data.{name}": getattr(recipe.data, name) for name in SPLITS}
    return sides | {name: data for name, data in splits.items() if data is not None}


def _model_stamp(side: Side, objects: Objects) -> str | None:
    if side.model in objects.models:
        return objects.models[side.model].stamp
    try:
        if not Path(resolve(side.model)).is_dir() and commit_of(side) is None:
            return None
        return fingerprint_of(side)
    except (StitchError, OSError):  # not there: a finished folder does without it, and a fit says so itself
        return None


def _data_stamp(data: Data, name: str, objects: Objects) -> str | None:
    try:
        return digest(data_files(data, name.removeprefix("data."), given=objects.data))
    except (StitchError, OSError):
        return None
