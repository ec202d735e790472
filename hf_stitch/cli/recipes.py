"""`hf-stitch recipes`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from hf_stitch.cli.terminal import Overrides
from hf_stitch.runtime.visible import visible

TEXT = "List, show, copy or check recipes."
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of a shipped recipe.")]


def ls() -> None:
    """List the shipped recipes, each with what it shows."""
    from hf_stitch.cli.terminal import console, table
    from hf_stitch.recipe.recipe import Recipe
    from hf_stitch.recipe.shipped import shipped

    shown = table("name", "method", "description")
    for name, path in shipped().items():
        recipe = Recipe.load(path)
        shown.add_row(name, recipe.label, recipe.description or _header(path))
    console().print(shown)


def _header(path: Path) -> str:
    """First comment of a file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((line.lstrip("# ") for line in lines if line.startswith("#") and line.strip("# ")), "")


def show(name: Name) -> None:
    """Print a recipe as it stands in its file, comments and all."""
    from hf_stitch.recipe.shipped import find

    typer.echo(visible(find(name).read_text(encoding="utf-8")), nl=False)


def copy(
    name: Name,
    dest: Annotated[Path | None, typer.Argument(metavar="DEST", help="File or folder; here, if absent.")] = None,
) -> None:
    """Copy a shipped recipe to a file of your own."""
    from hf_stitch.errors import RecipeError
    from hf_stitch.recipe.shipped import find

    path, wanted = find(name), dest or Path()
    wanted = wanted / path.name if wanted.is_dir() else wanted
    if wanted.exists():
        raise RecipeError(f"{wanted} exists; expected a new file: give another DEST, or delete it first")
    wanted.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, wanted)
    typer.echo(visible(f"{wanted}: change it, then hf-stitch fit {wanted}"))


def check(
    path: Annotated[str, typer.Argument(metavar="PATH", help="A YAML file, or the name of a shipped recipe.")],
    overrides: Overrides = None,
) -> None:
    """Check a recipe.

    Keys, values and compared methods are checked; no model and no data are opened.
    """
    from hf_stitch.recipe.recipe import Recipe

    recipe = Recipe.load(path, overrides or ())
    labels = ", ".join(label for label, _ in recipe.variants())
    typer.echo(visible(f"{path} is a recipe; it fits {labels}\nfingerprint {recipe.fingerprint()}"))
    typer.echo("only keys and values were checked: no model and no data were opened")


def keys() -> None:
    """Every key of a recipe: what it may hold, what it holds when absent, and what it means."""
    from hf_stitch.cli.terminal import console, table
    from hf_stitch.recipe.keys import recipe_keys

    shown = table("key", "values", "default", "meaning")
    for row in recipe_keys():
        shown.add_row(*row)
    console().print(shown)


VERBS = {
    ls: "hf-stitch recipes ls",
    show: "hf-stitch recipes show parabola",
    copy: "hf-stitch recipes copy parabola mine.yaml",
    check: "hf-stitch recipes check mine.yaml stitch.method=rbf",
    keys: "hf-stitch recipes keys",
}
