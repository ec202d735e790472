"""Arguments and small talk that several verbs share."""

from __future__ import annotations

import os
import sys
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from hf_stitch.report.report import Report

Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, ...; the best there is, if absent.")]
Dtype = Annotated[str | None, typer.Option(help="float32, bfloat16, ... for both models; their own, if absent.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Write no progress and no notes to stderr; errors alone.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Tell what libraries say too, and of an error where it came from.")
]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Changes, such as seed=1.")]


verbose: ContextVar[bool] = ContextVar("hf_stitch_verbose", default=False)
"""Whether the command that runs is to tell all: what libraries say, and where an error came from."""


def silence_libraries() -> None:
    """Switch off what transformers and datasets tell, unless all is asked for: the verbs draw bars of their own."""
    if verbose.get():
        return
    import datasets
    from transformers.utils import logging

    datasets.disable_progress_bars()
    logging.disable_progress_bar()
    logging.set_verbosity_error()


def console() -> Console:
    """Where results go: stdout, as wide as needed when it is no terminal; of several processes the first one speaks."""
    from hf_stitch.runtime.plain_console import PlainConsole

    # RANK is set by torchrun and accelerate.
    made = PlainConsole(soft_wrap=not sys.stdout.isatty(), quiet=os.environ.get("RANK", "0") != "0")
    if not made.is_terminal:
        # Rich would take 80 where nobody looks, and cut what a file or a pipe should have whole; by hand.
        made.width = 200
    return made


def table(*columns: str, right: tuple[str, ...] = ()) -> Any:
    """An empty table without frame; numbers to the `right`."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return made


def size(count: float) -> str:
    """Bytes as people read them."""
    # By thousands, as disks and the Hub count.
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def age(seconds: float) -> str:
    """How long ago something was, as people read it."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return "now"


def tell(report: Report) -> None:
    """Verdict, then each method on the test split; everything else is in the report."""
    from hf_stitch.report.rendering.summary import summary

    out = console()
    out.print(f"{report.verdict.text}\n{report.verdict.next}\n")
    head, rows = summary(report)
    shown = table(*head, right=("n",))
    for row in rows:
        shown.add_row(*row)
    out.print(shown)
    if any(row[0].endswith(" *") for row in rows):
        ranges = "; in round brackets the range of a group's members" if any(m.range for m in report.measures) else ""
        out.print(f"* the saved model; in brackets 95 % intervals{ranges}")
    for note in report.notes:
        out.print(f"note: {note}")


def files_in(folder: Path) -> str:
    """What was written, in one line."""
    known = ("report.html", "report.json", "README.md", "model.safetensors", "recipe.yaml")
    return ", ".join(name for name in known if (folder / name).exists())
