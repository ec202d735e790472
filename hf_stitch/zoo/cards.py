"""Model cards of the zoo: each is written from the training record beside it, so that no figure is typed by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hf_stitch.zoo.families import family_of
from hf_stitch.zoo.training_loop import RECORD


def write_card(folder: Path) -> None:
    """Write README.md from the training.json in `folder`."""
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    (folder / "README.md").write_text(card(record), encoding="utf-8")


def card(record: dict[str, Any]) -> str:
    """Return the card's Markdown for a training record."""
    name = record["name"]
    known = family_of(name).CARDS
    task, what = known[name if name in known else name.split("-")[0]]
    head = ["license: apache-2.0", "library_name: transformers", "tags:", "- hf-stitch", "- synthetic"]
    head += ["language: en", f"pipeline_tag: {task}"] if task else []
    done = ", ".join(f"{key.replace('_', ' ')} {_number(value)}" for key, value in record["training"].items())
    versions = ", ".join(f"{key} {value}" for key, value in record["versions"].items())
    lines = ["---", *head, "---", "", f"# {name}", "", what, "", "## Training", ""]
    lines += [f"Made by `{record['command']}` in {record['seconds']:.0f} s: {done}, seed {record['seed']}; {versions}."]
    if record["figures"]:
        lines += ["", "## Figures", "", "| on the shipped test data | |", "|---|---|"]
        lines += [f"| {key} | {_number(value)} |" for key, value in record["figures"].items()]
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
