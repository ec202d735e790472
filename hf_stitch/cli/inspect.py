"""`hf-stitch inspect`."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any

import typer

from hf_stitch.errors import StitchError

EXAMPLE = "hf-stitch inspect zoo:xlnet-sentiment"
FACTS = ("class", "parameters", "shape", "layout", "usable")  # what equal layers must have in common to be folded
Row = dict[str, Any]


def run(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="zoo:NAME, a folder (stitched ones too), or a Hub id.")],
    class_: Annotated[str | None, typer.Option("--class", help="Class in transformers; its own, if absent.")] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a Hub id.")] = None,
    inputs: Annotated[str | None, typer.Option(help="Inputs as in a recipe, in YAML.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Show equal layers singly, and what cannot be hooked.")] = False,
) -> None:
    """Show where a model can be cut.

    Each hook point comes with its output's shape and layout, and with its parameters. Shapes are in symbols (b batch,
    t time); b,t,c says which axis is which.
    """
    from hf_stitch.cli.terminal import console, silence_libraries

    silence_libraries()
    out = console()
    if _is_stitched(model, revision):
        return _show_stitched(model, revision, every)
    from hf_stitch.loading.half_precision import widened
    from hf_stitch.loading.models import load_model

    side = _side(model, class_, revision, inputs)
    found: Any = load_model(side)
    widened(found, model)  # shapes are the same
    rows = _rows(side, found)
    out.print(f"{model}: {type(found).__name__}, {_count(found):,} parameters")
    out.print(_table(rows if every else folded(rows), every))


def _side(model: str, class_: str | None, revision: str | None, inputs: str | None) -> Any:
    from pydantic import ValidationError

    from hf_stitch.errors import RecipeError
    from hf_stitch.recipe.explain import explain
    from hf_stitch.recipe.plain import read_yaml
    from hf_stitch.recipe.side import Side

    asked = {"model": model, "class": class_, "revision": revision, "hook": ""}
    try:
        return Side.model_validate(asked if inputs is None else {**asked, "inputs": read_yaml(inputs)})
    except (ValidationError, RecipeError) as error:
        why = explain(error, Side) if isinstance(error, ValidationError) else str(error)
        raise RecipeError(f"--inputs: {why.removeprefix('recipe: ')}") from None


def _rows(side: Any, model: Any) -> list[Row]:
    """The hook points of a model on inputs of the sizes that its processor makes.

    Raises:
        ProbeError: nobody knows what it takes.
    """
    from hf_stitch.activations.model_inputs import ModelInputs
    from hf_stitch.errors import ProbeError
    from hf_stitch.hooks.module_tree import module_tree
    from hf_stitch.loading.processors import picture_sizes
    from hf_stitch.loading.vector_answers import with_vector

    try:
        make = ModelInputs.of(side, model, picture_sizes(side, model)).make
        with suppress(StitchError):  # of one that answers otherwise, or with nothing
            with_vector(side, model, make, wanted=True)
        return module_tree(model, make)
    except ProbeError as error:
        todo = "describe its inputs, as in --inputs '{NAME: {shape: [b, t, 4], dtype: int64}}'"
        raise ProbeError(f"{side.model}: {error.cause}", todo) from error


def _show_stitched(model: str, revision: str | None, every: bool) -> None:
    from hf_stitch.cli.terminal import console
    from hf_stitch.loading.half_precision import widened
    from hf_stitch.models.hub.repository import local
    from hf_stitch.models.modeling_stitched import StitchedModel

    found, out = StitchedModel.from_pretrained(local(model, revision)), console()
    widened(found, model)
    out.print(_joint(found))
    out.print(f"{model}: {type(found).__name__}, {_count(found):,} parameters\n")
    out.print(_parts(found))
    rows = _modules(found)
    out.print("")
    out.print(_table(rows if every else folded(rows), every, ("module", "class", "parameters")))


def _count(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _is_stitched(model: str, revision: str | None) -> bool:
    from transformers import PretrainedConfig

    try:
        return PretrainedConfig.get_config_dict(model, revision=revision)[0].get("model_type") == "hf_stitch"
    except (OSError, ValueError):
        return False  # a zoo: name, or what `load_model` will explain


def _joint(model: Any) -> str:
    """Where the halves of a stitched model meet, and how."""
    config = model.config
    ends = [f"{end['model']} at {end['point']['module']}" for end in config.ends.values()]
    layer, rule = config.layer, config.sequence
    widths = f"{layer['features_in']} to {layer['features_out']} features"
    return f"{ends[0]} -> {layer['method']} ({widths}, length {rule['length']}) -> {ends[1]}"


def _parts(model: Any) -> Any:
    """What each part holds, as the report counts it, and what it takes for one input; only those that run."""
    from hf_stitch.cli.terminal import console, table
    from hf_stitch.models.cost import multiply_adds, sizes_of
    from hf_stitch.runtime.extras import extra

    found, lost = dict[str, int](), list[str]()
    with extra("multiply-adds", lost):  # their column stays empty
        found = multiply_adds(model)
    for note in lost:
        console().print(f"note: {note}\n")
    lengths = f" ({found['source_positions']} -> {found['target_positions']} positions)" if found else ""
    head = ("parameters", "buffers", "numbers", "multiply-adds" + lengths)
    shown = table("part", *head, right=head)
    for name, size in sizes_of(model).items():
        if name == "trust" and not size.numbers:
            continue
        taken = f"{found[name]:,}" if name in found else ""
        shown.add_row(name, *(f"{count:,}" for count in (*size, size.numbers)), taken)
    return shown


def _modules(model: Any) -> list[Row]:
    """Rows without shapes: the parts of a stitched model that hold or compute something."""
    return [
        {"name": name, "class": type(module).__name__, "parameters": _count(module), "usable": True}
        for name, module in model.named_modules()
        # `Absent` stands for what was left out of a half; by name, since torch is not imported here.
        if name and type(module).__name__ != "Absent"
    ]


def folded(rows: Sequence[Row]) -> list[Row]:
    """Rows without the layers that equal the one before; the first of them says up to which number they are alike."""
    trees = {row["name"]: _tree(rows, i) for i, row in enumerate(rows)}
    kept: dict[str, Row] = {}
    first: dict[str, str] = {}
    for row in rows:
        name, parent, number = row["name"], *_numbered(row["name"])
        if any(gone != kept_one and name.startswith(gone + ".") for gone, kept_one in first.items()):
            continue
        before = f"{parent}{number - 1}"
        if number > 0 and trees.get(before) == trees[name]:
            first[name] = first.get(before, before)
            kept[first[name]] = {**kept[first[name]], "alike": number}
            continue
        kept[name] = dict(row)
    return list(kept.values())


def _tree(rows: Sequence[Row], start: int) -> list[tuple[Any, ...]]:
    """All that is known of a module and those below it, by their names below it."""
    name = rows[start]["name"]
    below = itertools.takewhile(lambda row: row["name"] == name or row["name"].startswith(name + "."), rows[start:])
    return [(row["name"][len(name) :], *(row.get(fact) for fact in FACTS)) for row in below]


def _numbered(name: str) -> tuple[str, int]:
    """`encoder.layers.3` is ("encoder.layers.", 3); the number of other names is -1."""
    found = re.fullmatch(r"(.*?)(\d+)", name)
    return (found[1], int(found[2])) if found and (not found[1] or found[1].endswith(".")) else (name, -1)


COLUMNS = ("hook", "class", "shape", "layout", "parameters")


def _table(rows: Sequence[Row], every: bool, columns: Sequence[str] = COLUMNS) -> Any:
    from hf_stitch.cli.terminal import table

    shown = table(*columns, right=("parameters",))
    for row in rows:
        if not (row["usable"] or every):
            continue
        shape = row.get("shape") if row["usable"] else row.get("reason")
        cells = {
            columns[0]: row["name"] + (f" (to {row['alike']} alike)" if "alike" in row else ""),
            "class": row["class"],
            "shape": str(shape or ""),
            "layout": row.get("layout") or "",
            "parameters": f"{row['parameters']:,}",
        }
        shown.add_row(*(cells[column] for column in columns))
    return shown
