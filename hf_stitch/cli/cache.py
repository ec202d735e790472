"""`hf-stitch cache`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from hf_stitch.runtime.cache import Entry

TEXT = "List or clear what later fits can take up."


def ls() -> None:
    """List what is kept, the newest first: of which recipe, models and split it is, its size and age."""
    from hf_stitch.cli.terminal import age, console, size, table
    from hf_stitch.runtime.cache import cache_folder, entries

    found = entries()
    shown = table("what", "source", "target", "size", "changed", "entry", right=("size",))
    for entry in found:
        shown.add_row(*_told(entry), size(entry.size), age(time.time() - entry.changed), entry.name)
    if found:
        console().print(shown)
    typer.echo(f"{len(found)} entries, {size(sum(entry.size for entry in found))} in {cache_folder()}")


def _told(entry: Entry) -> tuple[str, str, str]:
    """What an entry is of, and of which models at which hook points."""
    about = entry.about
    if "split" in about:
        what = f"{about.get('recipe') or 'a recipe'}: {about['split']}, {about.get('samples')} samples"
        return what, str(about.get("source")), str(about.get("target"))
    _, rendered, name = entry.name.partition("-zoo-")
    return (f"data set zoo:{name}" if rendered else "of an earlier version"), "", ""


def clear() -> None:
    """Delete all of it.

    Finished models are in folders of their own and stay.
    """
    from hf_stitch.cli.terminal import size
    from hf_stitch.runtime.cache import cache_folder
    from hf_stitch.runtime.cache import clear as clear_cache

    gone = clear_cache()
    typer.echo(f"{len(gone)} entries, {size(sum(entry.size for entry in gone))} deleted from {cache_folder()}")


VERBS = {ls: "hf-stitch cache ls", clear: "hf-stitch cache clear"}
