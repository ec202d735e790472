"""Models and data that are handed over beside a stitched model that was saved, to measure it again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from hf_stitch.errors import DataError, RecipeError, nearest
from hf_stitch.hooks.trace import MakeInputs
from hf_stitch.loading.data_objects import SPLITS, rows_of, splits_of
from hf_stitch.loading.modality import modality
from hf_stitch.loading.objects.given_model import GivenModel, named_beside
from hf_stitch.loading.objects.held import Objects
from hf_stitch.loading.processors import Preparer, load_tools, target_tokenizer
from hf_stitch.loading.quiet import quiet
from hf_stitch.models.configuration_stitched import StitchedConfig
from hf_stitch.models.empty_half import ROLES
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.models.tasks import spells
from hf_stitch.recipe.names import MEMORY, is_in_memory
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.recipe.side import SIDES, Role

if TYPE_CHECKING:
    from datasets import Dataset

NAMES = {name for names in SPLITS.values() for name in names}
"""Under which splits are given."""


def opened(folder: Path, models: Mapping[str, Any]) -> StitchedModel:
    """A saved stitched model; halves that no configuration builds are built by the models that are given."""
    built = {role: one for role, one in models.items() if not isinstance(one, str | Path)}
    if built:
        ends = StitchedConfig.from_pretrained(folder).ends
        needed = {role for half, role in ROLES.items() if ends[half].get("built") is False}
        built = {role: one for role, one in built.items() if role in needed}
    with quiet():
        found: StitchedModel = StitchedModel.from_pretrained(folder, **built)
    return found


def held_objects(
    model: StitchedModel,
    models: Mapping[str, Any],
    tools: Mapping[Role, Any],
    make_inputs: Mapping[Role, MakeInputs],
    data: Any,
) -> tuple[Objects, dict[str, str]]:
    """Those of models and data that are objects, and the names of all models by side.

    Args:
        models: by side, objects or names. tools: processors that are given, by side; for others those that were saved
            with the model are taken. data: rows, or splits of them, or a recipe's part.

    Raises:
        RecipeError: a side that is none, or a model that cannot be used. DataError: no rows.
    """
    found: dict[str, GivenModel] = {}
    names: dict[str, str] = {}
    for role, one in models.items():
        if role not in SIDES:
            raise RecipeError(f"models: {role!r} is neither of the two; {nearest(role, SIDES)}")
        if isinstance(one, str | Path):
            names[role] = str(one)
        else:
            processor = tools[role] if tools[role] is not None else _saved_tool(model, role)
            given = GivenModel.of(one, role, processor, _labelled(model, role), make_inputs.get(role))
            names[role] = named_beside(given, found)
            found[names[role]] = given
    rows = _rows(data)
    return Objects(found, {} if rows is None else {MEMORY + "test": rows}), names


def check_held(recipe: Recipe, objects: Objects) -> None:
    """RecipeError or DataError, before anything is loaded, where a recipe names what is in memory and is not given."""
    for role in SIDES:
        name = getattr(recipe, role).model
        if is_in_memory(name) and name not in objects.models:
            raise RecipeError(
                f"the {role} {name!r} was in memory when the map was fitted: hand it over from Python, "
                f'evaluate(DIR, models={{"{role}": MODEL}}), or name a folder that holds it ({role}.model=FOLDER)'
            )
    test = recipe.data.test
    if test is not None and is_in_memory(test.dataset) and test.dataset not in objects.data:
        raise DataError(
            f"the test data {test.dataset!r} were in memory when the map was fitted: hand them over from Python, "
            "evaluate(DIR, data=ROWS), or name others (dataset=FILE)"
        )


def _rows(data: Any) -> Dataset | None:
    """Rows in memory; None of no data, and of a recipe's part."""
    if data is None or _is_part(data):
        return None
    if isinstance(data, str | Path):
        raise DataError(f'data: {str(data)!r} is a name: give it as {{"dataset": {str(data)!r}}}')
    if isinstance(data, Mapping) and NAMES & {str(name).casefold() for name in data}:
        splits = splits_of(data)
        if "test" not in splits:
            raise DataError(f"data: expected rows, or the split `test`; got the splits {', '.join(splits)}")
        return rows_of(splits["test"], "test")
    return rows_of(data, "test")


def _is_part(data: Any) -> bool:
    """Whether it is a recipe's part, whatever its keys are: plain values, and none of them called as a split."""
    if not isinstance(data, Mapping) or NAMES & {str(name).casefold() for name in data}:
        return False
    return all(one is None or isinstance(one, str | int | float | Mapping) for one in data.values())


def _labelled(model: StitchedModel, role: Role) -> bool:
    half = next(half for half, one in ROLES.items() if one == role)
    return model.config.ends[half].get("answers") == "labels"


def _saved_tool(model: StitchedModel, role: Role) -> Any:
    """What prepares the inputs of a side, where it was saved with the stitched model; None where it was not."""
    beside, folder = model.companions, Path(model.name_or_path)
    if role == "target":
        known = None if beside is None else beside.preparer.target_tokenizer or beside.speller
        return target_tokenizer(folder) if known is None and model.name_or_path else known
    if beside is not None:
        tool, speller = beside.preparer.tool, beside.tokenizer
    elif model.name_or_path and folder.is_dir():
        tool = Preparer.load(folder, model.config).tool
        speller = load_tools("audio", str(folder), None)[1] if modality(model.config) == "audio" else None
    else:
        return None
    if modality(model.config) != "audio":
        return tool
    # Where the target spells, its tokenizer lies there, and not the source's.
    return SimpleNamespace(feature_extractor=tool, tokenizer=None if spells(model.config) else speller)
