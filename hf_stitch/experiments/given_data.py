"""Data as they are handed over in Python: the recipe's part of them, and the rows that it names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_stitch.errors import DataError, RecipeError, StitchError, nearest
from hf_stitch.loading.data_objects import rows_of, splits_of
from hf_stitch.loading.tables import open_table
from hf_stitch.recipe.data import Data
from hf_stitch.recipe.names import MEMORY, is_folder, is_shipped, local_path

if TYPE_CHECKING:
    from datasets import Dataset

SPLITS = ("fit", "validation", "test")


def recipe_data(
    data: Any, columns: Mapping[str, str] | None
) -> tuple[dict[str, dict[str, Any]], dict[str, Dataset], list[str]]:
    """The recipe's part `data`, the rows in memory that it names, and what is to be told of them.

    Args:
        data: see `hf_stitch.experiments.stitch.stitch`. columns: of those splits that name none themselves.

    Raises:
        DataError: no rows, or splits of other names. RecipeError: no columns.
    """
    found: dict[str, Any]
    notes: list[str] = []
    if isinstance(data, str | Path):
        found = _named_data(str(data))
        if str(found["fit"]) != str(data) and str(found["fit"]["split"]).endswith("]"):
            one = f"one set, {Path(data).name}, was given"
            notes.append(f"{one}: its first 80 % are the fit, the rest the test, in their order")
    elif isinstance(data, Mapping) and any(_is_named(one) for one in data.values()):
        found = dict(data)
    else:
        found = splits_of(data)
    if "fit" not in found and "train" in found:
        found["fit"] = found.pop("train")
    if unknown := found.keys() - {*SPLITS}:
        raise DataError(f"data: no split is called {min(unknown)!r}; {nearest(min(unknown), SPLITS)}")
    if "fit" not in found:
        raise DataError("data: the samples that make the map are missing: give them as `fit`")
    asked: dict[str, dict[str, Any]] = {}
    rows: dict[str, Dataset] = {}
    for name, one in found.items():
        if _is_named(one):
            asked[name] = {"dataset": str(one)} if isinstance(one, str | Path) else dict(one)
        else:
            rows[MEMORY + name] = rows_of(one, name)
            asked[name] = {"dataset": MEMORY + name}
        if "columns" not in asked[name]:
            asked[name]["columns"] = _columns(columns, rows.get(MEMORY + name))
    return asked, rows, [*notes, *getattr(found, "notes", ())]


def _is_named(one: Any) -> bool:
    """Whether data are given by their name, or as a recipe has them."""
    return isinstance(one, str | Path) or (isinstance(one, Mapping) and isinstance(one.get("dataset"), str))


def _named_data(name: str) -> dict[str, Any]:
    """Fit and test of a data set by its name: its own splits, where it lies here, else the first 80 % and the rest."""
    if is_shipped(name):
        return {"fit": name, "test": name}
    if is_folder(local_path(name)):
        splits = {"fit": "train", "validation": "validation", "test": "test"}
        there = {own: {"dataset": name, "split": split} for own, split in splits.items() if _has(name, split)}
        if "fit" in there and "test" in there:
            return there
    return {"fit": {"dataset": name, "split": "train[:80%]"}, "test": {"dataset": name, "split": "train[80%:]"}}


def _has(name: str, split: str) -> bool:
    try:
        open_table(Data.model_validate({"dataset": name, "split": split, "columns": {"source": ""}}), split)
    except StitchError:
        return False
    return True


def _columns(columns: Mapping[str, str] | None, rows: Dataset | None) -> dict[str, str]:
    if columns:
        return dict(columns)
    there = "" if rows is None else f"; the data have {', '.join(rows.column_names)}"
    raise RecipeError(f'columns: which column holds what is missing, such as columns={{"source": "text"}}{there}')
