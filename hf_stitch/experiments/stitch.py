"""`stitch`: a fit of models and data that somebody holds in Python, by the very way of a recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hf_stitch.errors import DataError, RecipeError
from hf_stitch.experiments.fit import fit
from hf_stitch.experiments.given_data import recipe_data
from hf_stitch.hooks.trace import MakeInputs
from hf_stitch.loading.objects.given_model import GivenModel, named_beside
from hf_stitch.loading.objects.held import Objects
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.recipe.names import MEMORY
from hf_stitch.recipe.recipe import Recipe, method_of
from hf_stitch.recipe.side import SIDES, Role
from hf_stitch.report.report import Report
from hf_stitch.runtime.progress import Progress


def stitch(
    source: Any,
    source_hook: str | Mapping[str, Any],
    target: Any,
    target_hook: str | Mapping[str, Any],
    data: Any,
    *,
    method: str | Mapping[str, Any] = "affine",
    columns: Mapping[str, str] | None = None,
    source_processor: Any = None,
    target_processor: Any = None,
    out: str | Path | None = None,
    compare: Sequence[Any] = (),
    seed: int = 0,
    device: str | None = None,
    dtype: str | None = None,
    overwrite: bool = False,
    progress: Progress | bool | None = None,
    make_inputs: Mapping[Role, MakeInputs] | None = None,
    **parts: Any,
) -> tuple[StitchedModel, Report]:
    """Run the first half of one model and the second half of another through a learned map, and measure how it holds.

    Models and data are left as they are: what runs are copies.

    Args:
        source, target: a model that is loaded (of transformers or a class of your own, with PEFT adapters, quantised,
            of sentence-transformers, any `torch.nn.Module`), or the name or folder of one, as in a recipe.
        source_hook, target_hook: dotted name of a module, as `named_modules` has it; or that and other keys of a
            recipe's side: `{"hook": NAME, "features": {"every": 4}, "pooling": "cls"}`.
        data: rows, or `{"fit": rows, "validation": rows, "test": rows}`; of a single set the first 80 % are for the fit
            and the rest for the test. Rows are a `datasets.Dataset`, a list of mappings, or the name or path of data,
            as in a recipe; a recipe's own `data` part does too.
        method: of the map, such as `affine` or `rbf+nearest`; or a recipe's `stitch` part.
        columns: which column holds what: `source`, and `target` where it is another, `label`, ...
        source_processor, target_processor: tokenizer, feature extractor or image processor of a model that is given;
            absent: what lies where the model came from. A module that reads numbers has none.
        out: folder to write; the same call resumes there.
        compare: further methods, as in a recipe.
        device, dtype, overwrite, progress, make_inputs: as for `fit`.
        parts: other parts of a recipe: `sequence={"length": "spans"}`, `neighborhoods`, `trust`, `directions`, ...

    Returns:
        The stitched model in evaluation mode, and the report.

    Raises:
        StitchError: anything that the user can mend; what is missing is told before any long work.
    """
    if parts.get("save", "full") != "full":
        raise RecipeError("save: map leaves the halves where they are, and these are in memory: leave it out")
    if not isinstance(method, str | Mapping):
        raise RecipeError(f"method: expected a name, or a recipe's `stitch` part; got {type(method).__name__}")
    split, rows, notes = recipe_data(data, columns)
    labelled = any("label" in one.get("columns", {}) for one in split.values())
    held = {"source": (source, source_hook, source_processor), "target": (target, target_hook, target_processor)}
    sides: dict[str, Any] = {}
    models: dict[str, GivenModel] = {}
    for role in SIDES:
        model, hook, processor = held[role]
        if not isinstance(hook, str | Mapping):
            kind = type(hook).__name__
            raise RecipeError(f"{role}_hook: expected the name of a module, or keys of a recipe's side; got {kind}")
        side = {"hook": hook} if isinstance(hook, str) else dict(hook)
        if isinstance(model, str | Path):
            if processor is not None:
                raise RecipeError(f"{role}_processor: {role} is a name, whose own processor is taken; leave it out")
            sides[role] = {"model": str(model), **side}
            continue
        given = GivenModel.of(model, role, processor, labelled, (make_inputs or {}).get(role))
        name = named_beside(given, models)
        models[name] = given
        sides[role] = {"model": name, **side, "hook": given.hook(str(side.get("hook", "")))}
    notes += _held(models, rows)
    asked = {
        "name": parts.pop("name", "" if out is None else Path(out).name),
        **sides,
        "data": split,
        "stitch": method_of(method) if isinstance(method, str) else dict(method),
        "compare": [compare] if isinstance(compare, str) else list(compare),
        "seed": seed,
        **parts,
    }
    cut = next((note for note in notes if note.startswith("one set")), None)
    try:
        return fit(
            Recipe.parse(asked), out, device=device, dtype=dtype, overwrite=overwrite, progress=progress,
            make_inputs=make_inputs, objects=Objects(models, rows, tuple(notes)),
        )  # fmt: skip
    except DataError as error:
        if cut is None or not str(error).startswith("data."):
            raise
        raise DataError(f"{error} ({cut})") from error


def _held(models: Mapping[str, GivenModel], rows: Mapping[str, Any]) -> list[str]:
    """What a reader of the report is told of objects."""
    names = ", ".join(name.removeprefix(MEMORY) for name in (*models, *rows))
    return [f"in memory: {names}; the recipe cannot be run again from its file"] if names else []
