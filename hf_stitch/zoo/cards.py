"""Model cards of the zoo: each is written from the training record beside it, so that no figure is typed by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hf_stitch.zoo.training import RECORD

_OPINIONS = "trained from scratch on short made-up opinions whose sentiment no single word decides."
_WHAT = {
    "wav2vec2-speech": (
        "automatic-speech-recognition",
        "A small `Wav2Vec2ForCTC` trained from scratch on sentences spoken by the synthesizer espeak-ng. It knows a "
        "closed vocabulary of 196 words in clean synthetic speech at 16 kHz; it is of no use for people's voices.",
    ),
    "xlnet-sentiment": (
        "text-classification",
        f"A small `XLNetForSequenceClassification` with a sentencepiece tokenizer, {_OPINIONS}",
    ),
    "xlnet-sentiment-weak": (
        "text-classification",
        "The same architecture and tokenizer as `xlnet-sentiment`, trained on few sentences so that it errs: with it, "
        "agreement with the model and accuracy against the truth are different figures.",
    ),
    "roberta-sentiment": (
        "text-classification",
        f"A small `RobertaForSequenceClassification` with a tokenizer of whole words, {_OPINIONS}",
    ),
    "parabola": (
        None,
        "A network of 1-8-8-8-1 neurons with tanh, in double precision, that has learned y = x^2 on [-1, 1]. Ten of "
        "them ship, in pairs `a` and `b`, each with its own initial weights. "
        "Call `hf_stitch.zoo.networks.register()` before `AutoModel.from_pretrained`.",
    ),
}


def write_card(folder: Path) -> None:
    """Write README.md from the training.json in `folder`."""
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    (folder / "README.md").write_text(card(record), encoding="utf-8")


def card(record: dict[str, Any]) -> str:
    """Return the card's Markdown for a training record."""
    name = record["name"]
    task, what = _WHAT["parabola" if name.startswith("parabola") else name]
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
