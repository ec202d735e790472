"""`hf-stitch zoo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

TEXT = "List or remake the small models and data that ship."


def ls() -> None:
    """List models and data sets with their sizes."""
    from hf_stitch.cli.terminal import console, size, table
    from hf_stitch.errors import ZooError
    from hf_stitch.recipe.names import ZOO
    from hf_stitch.zoo import catalogue

    shown = table("name", "kind", "size", right=("size",))
    kinds = (
        ("model", catalogue.model_names(), catalogue.resolve_model),
        ("data", catalogue.data_names(), catalogue.resolve_data),
    )
    for kind, names, resolve in kinds:
        for name in names:
            try:
                weight = size(sum(file.stat().st_size for file in resolve(name).rglob("*") if file.is_file()))
            except ZooError:
                weight = "not here: hf-stitch zoo build"
            shown.add_row(ZOO + name, kind, weight)
    console().print(shown)


def build(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Models and data sets; all, if absent.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where to; in the package itself, if absent.")] = None,
) -> None:
    """Make models and data from seeds.

    The data of speech need espeak-ng.
    """
    from hf_stitch.recipe.names import without_zoo
    from hf_stitch.runtime.progress_bars import progress
    from hf_stitch.zoo.build import build as build_zoo

    build_zoo(out, [without_zoo(name) for name in names or ()], progress().note)


VERBS = {ls: "hf-stitch zoo ls", build: "hf-stitch zoo build parabola --out zoo"}
