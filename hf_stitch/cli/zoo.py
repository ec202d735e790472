"""`hf-stitch zoo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hf_stitch.cli.terminal import Quiet

TEXT = "List or remake the small models and data that ship."


def ls() -> None:
    """List models and data sets with their sizes.

    Nothing is made or written for it.
    """
    from hf_stitch.cli.terminal import console, size, table
    from hf_stitch.errors import ZooError
    from hf_stitch.recipe.names import ZOO
    from hf_stitch.zoo import catalogue

    shown = table("name", "kind", "size", right=("size",))
    kinds = (
        ("model", catalogue.model_names(), catalogue.resolve_model),
        ("data", catalogue.data_names(), _data_folder),
    )
    for kind, names, resolve in kinds:
        for name in names:
            try:
                folder = resolve(name)
                weight = size(sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()))
                weight = weight if folder.is_dir() else "made when first opened"
            except ZooError:
                weight = "not here: hf-stitch zoo build"
            shown.add_row(ZOO + name, kind, weight)
    console().print(shown)


def _data_folder(name: str) -> Path:
    """Of one that is made in the cache when it is first opened, where it will be."""
    from hf_stitch.zoo import catalogue

    return catalogue.rendered_folder(name) if catalogue.is_rendered(name) else catalogue.resolve_data(name)


def build(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Models and data sets; all, if absent.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where to; in the package itself, if absent.")] = None,
    quiet: Quiet = False,
) -> None:
    """Make models and data from seeds.

    The data of speech need espeak-ng.
    """
    from hf_stitch.recipe.names import without_zoo
    from hf_stitch.runtime.progress_bars import progress
    from hf_stitch.zoo.build import build as build_zoo

    build_zoo(out, [without_zoo(name) for name in names or ()], progress(quiet).note)


VERBS = {ls: "hf-stitch zoo ls", build: "hf-stitch zoo build parabola --out zoo"}
