"""`hf-stitch cache`."""

from __future__ import annotations

import time

import typer

TEXT = "List or clear what later fits can take up."


def ls() -> None:
    """List what is kept, the newest first."""
    from hf_stitch.cli.terminal import console, size, table
    from hf_stitch.runtime.cache import cache_folder, entries

    found = entries()
    shown = table("entry", "size", "files", "hours ago", right=("size", "files", "hours ago"))
    for entry in found:
        shown.add_row(entry.name, size(entry.size), str(entry.files), f"{(time.time() - entry.changed) / 3600:.1f}")
    if found:
        console().print(shown)
    typer.echo(f"{len(found)} entries, {size(sum(entry.size for entry in found))} in {cache_folder()}")


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
