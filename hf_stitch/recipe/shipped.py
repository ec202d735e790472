"""Recipes that ship with the package, by name."""

from __future__ import annotations

from pathlib import Path

from hf_stitch.errors import RecipeError, nearest
from hf_stitch.recipe.names import is_file

LONGEST = 160  # characters told of a name; by hand


def shipped_folder() -> Path:
    """Folder of the shipped recipes: inside the installed package, or beside it in an editable install."""
    package = Path(__file__).parents[1]
    inside = package / "shipped_recipes"
    return inside if inside.is_dir() else package.parent / "recipes"


def shipped() -> dict[str, Path]:
    """Shipped recipes by name (`speech_sentiment`, `paper/parabola`, ...)."""
    folder = shipped_folder()
    found = sorted(folder.rglob("*.yaml"))
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in found}


def find(path_or_name: str | Path) -> Path:
    """Path of a recipe given as a file or as a shipped name."""
    path, name = Path(path_or_name), str(path_or_name)
    if is_file(path):
        return path
    names = shipped()
    if name in names:
        return names[name]
    told = name if len(name) <= LONGEST else f"{name[:LONGEST]}..."
    raise RecipeError(f"no recipe {told!r}: neither a file nor a shipped name; {nearest(told, names)}")
