"""`hf-stitch predict`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hf_stitch.cli.terminal import Device, Quiet
from hf_stitch.errors import DataError
from hf_stitch.runtime.visible import json_line, visible

if TYPE_CHECKING:
    from hf_stitch.models.predictor import Predictor

EXAMPLE = "hf-stitch predict stitched/speech_sentiment a.wav b.flac"
COLUMNS, SHOWN = 8, 4  # most numbers of an answer that a table shows each in a column, and of more those that it shows


def run(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Folder that `fit` wrote, or a Hub id.")],
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT",
            help="Sounds, pictures, or text files with one text a line; folders of such; - reads stdin.",
        ),
    ] = None,
    abstain: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Give no answer where trust is below this, such as 0.02.")
    ] = None,
    device: Device = None,
    quiet: Quiet = False,
) -> None:
    """Predict with a stitched model.

    Shows a table on a terminal, and JSON lines where the output is piped. Without INPUT, or with -, a model of text
    reads one text a line from stdin, and a model of sound the bytes of one file.
    """
    from hf_stitch.cli.terminal import silence_libraries
    from hf_stitch.models.predictor import Predictor

    silence_libraries()
    predictor = Predictor(folder, device=device, abstain=abstain)
    if not quiet:
        # As they come: a sound of hours is told before it is read.
        predictor.on_note = _note
        for note in predictor.notes:
            _note(note)
    bad: list[str] = []
    # A bad input is told at the end, when the others have their answers.
    found = predictor(_inputs(inputs or ["-"], predictor), lambda error: bad.append(str(error)))
    if sys.stdout.isatty():
        _show(found)
    else:
        for row in found:
            # Line by line: who reads the pipe need not wait for the last input.
            print(json_line(row, sys.stdout.encoding), flush=True)
    if bad:
        raise DataError("; ".join(bad))


def _note(text: str) -> None:
    print(f"note: {visible(text)}", file=sys.stderr, flush=True)


def _inputs(words: list[str], predictor: Predictor) -> Iterator[Path | str | bytes]:
    for word in words:
        if word != "-":
            yield Path(word)
        elif predictor.modality == "audio":
            yield sys.stdin.buffer.read()
        else:
            yield from _texts()


def _texts() -> Iterator[str | bytes]:
    """Lines of stdin as they come; those that are not in its encoding as bytes, which the predictor then refuses."""
    stream: Any = getattr(sys.stdin, "buffer", sys.stdin)
    for line in stream:
        kept = line.rstrip(b"\r\n" if isinstance(line, bytes) else "\r\n")
        if not kept.strip():
            continue
        try:
            yield kept.decode(sys.stdin.encoding) if isinstance(kept, bytes) else kept
        except UnicodeDecodeError:
            yield kept


def _show(rows: Iterator[dict[str, Any]]) -> None:
    from hf_stitch.cli.terminal import console, table

    # All of them first: which columns there are is known at the end.
    lines = [(row["input"], {**_answer(row), **_numbers(row)}) for row in rows]
    if lines:
        columns = dict.fromkeys(column for _, cells in lines for column in cells)  # who abstains has fewer
        shown = table("input", *columns)
        for name, cells in lines:
            shown.add_row(name, *(_written(cells[column]) if column in cells else "" for column in columns))
        console().print(shown)


def _answer(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key in ("text", "label", "score", "trust")}


def _numbers(row: dict[str, Any]) -> dict[str, Any]:
    values = row.get("values") or []
    if len(values) > COLUMNS:
        shown = ", ".join(_written(value) for value in values[:SHOWN])
        return {"vector": f"{shown}, ... ({len(values)} numbers)"}
    return row.get("scores") or {str(i): value for i, value in enumerate(values)}


def _written(cell: Any) -> str:
    return f"{cell:.4f}" if isinstance(cell, float) else "abstained" if cell is None else str(cell)
