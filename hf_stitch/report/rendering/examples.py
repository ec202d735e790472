"""How to get an answer from what came of a run: the same lines on page and card."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import Any

from hf_stitch.recipe.names import is_in_memory
from hf_stitch.recipe.side import SIDES
from hf_stitch.report import units
from hf_stitch.report.plain_json import part
from hf_stitch.report.report import Report

# An input of each kind that anybody has, as Python and as a word of the command line, and what to give in its place.
TEXT = '"a text of your own"'
SOUND = 'np.random.default_rng(0).normal(0, 0.1, {rate}).astype("float32")  # a second of noise; or a file: "my.wav"'
PICTURE = 'np.zeros((64, 64, 3), dtype="uint8")  # a black picture; or a file: "my.png"'
NUMBERS = "np.full({width}, 0.5)  # as many numbers as the model takes"
PYTHON = {"text": TEXT, "audio": SOUND, "image": PICTURE, "vector": NUMBERS}
WORDS = {"text": "a text of your own", "audio": "my.wav", "image": "my.png"}
# Of reports that do not say what answers; those of other tasks are not known by the task alone.
OF_TASK: dict[str, dict[str, Any]] = {
    f"{kind}-classification": {"takes": kind, "pipeline": "stitched-classification"} for kind in WORDS
}


@dataclass(frozen=True)
class Examples:
    """Lines that run where the folder is, or anywhere by its Hub id.

    Attributes:
        folder: what the model is loaded by. answer: Python that prints an answer; empty where nothing is known of the
            input, or where it is not enough for one.
        predict, evaluate: the same on the command line, and what measures the model again; empty where that takes what
            was in memory.
        held: what Python hands over beside the folder to measure it again, of models and data that were in memory.
    """

    folder: str
    answer: str
    predict: str
    evaluate: str
    held: str = ""


def examples_of(report: Report) -> Examples:
    """The examples of a report: with the folder that it was written to, else the default one of its name."""
    folder = str(report.environment.get("folder") or units.folder_of(report.name))
    task, usage = report.diagnostics.task or "", report.diagnostics.usage
    known = OF_TASK.get(task, {}) if usage is None else usage
    kind, width = str(known.get("takes")), known.get("width")
    words = " ".join(["0.5"] * int(width)) if kind == "vector" and width else WORDS.get(kind)
    predict, evaluate = (f"hf-stitch {verb} {shlex.quote(folder)}" for verb in ("predict", "evaluate"))
    held = _held(report)
    evaluate = "" if held else evaluate
    if words is None:
        return Examples(folder, "", f"{predict} INPUT...", evaluate, held)
    value = PYTHON[kind].format(rate=known.get("rate") or 16_000, width=width)
    lines = [
        *(["import numpy as np"] if "np." in value else []),
        "import hf_stitch  # from here on transformers' pipelines know stitched models",
        "from transformers import pipeline",
        "",
        f"given = {value}",
        f"answers = pipeline({json.dumps(known['pipeline'])}, model={json.dumps(folder, ensure_ascii=False)})",
        "print(answers(given))",
    ]
    # Texts and numbers are read from files and pipes.
    asked = f"echo {shlex.quote(words)} | {predict}" if kind in ("text", "vector") else f"{predict} {words}"
    return Examples(folder, "\n".join(lines), asked, evaluate, held)


def _held(report: Report) -> str:
    """The arguments of `evaluate` for what is in memory; empty where nothing is."""
    sides = [side for side in SIDES if is_in_memory(str(part(report.recipe, side).get("model") or ""))]
    models = ", ".join(f'"{side}": {side}' for side in sides)
    rows = is_in_memory(str(part(report.recipe, "data", "test").get("dataset") or ""))
    return (", data=rows" if rows else "") + (f", models={{{models}}}" if sides else "")
