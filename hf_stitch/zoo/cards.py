"""Model cards of the zoo: each is written from the training record beside it, so that no figure is typed by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hf_stitch.zoo.training_loop import RECORD

_OPINIONS = "trained from scratch on short made-up opinions whose sentiment no single word decides."
_REGISTER = "Call `hf_stitch.register()` before `AutoModel.from_pretrained`."
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
    "bart-german": (
        "translation",
        "A small `BartForConditionalGeneration` with a tokenizer of whole words, trained from scratch to write short "
        "made-up English opinions in German, as rules of grammar do (`hf_stitch.zoo.speech.german`).",
    ),
    "parabola": (
        None,
        "A network of 1-8-8-8-1 neurons with tanh, in double precision, that has learned y = x^2 on [-1, 1]. Ten of "
        "them ship, in pairs `a` and `b`, each with its own initial weights. " + _REGISTER,
    ),
    "fold": (
        None,
        "A tanh network (`fold-narrow` of 1-1-1 neurons, `fold-wide` of 1-8-8-8-1), in double precision, that has "
        "learned y = x^2 on [-1, 0] alone. Beyond it the wide one's output folds back, the narrow one's does not "
        f"(Bertalan et al. 2021, section 4.1). {_REGISTER}",
    ),
    "warped": (
        None,
        "A tanh network of 1-3-1 neurons, in double precision, that has learned y = -(x - 0.25)^2 - 1: those called "
        f"`a` on [0, 1], those called `b` on [2, 4] (Bertalan et al. 2021, section 4.2). {_REGISTER}",
    ),
    "field": (
        None,
        "A tanh network of 2-5-5-5-5-2 neurons, in double precision, that has learned a vector field on "
        "[-1.5, 1.5]^2: `a` one with a limit cycle, `b` the same pushed forward by a bend of the plane "
        f"(after Bertalan et al. 2021, section 4.3). {_REGISTER}",
    ),
    "camera": (
        None,
        "A convolutional autoencoder with a code of six numbers, which takes noise from pictures (32 x 32) of a "
        "rotating solid that one of two cameras sees, from `above` or from `below` (after Bertalan et al. 2021, "
        "section 4.4). It was trained on views five degrees apart; its errors on angles between them stand beside what "
        f"a copy of the nearest view errs, of as many views and of more. {_REGISTER}",
    ),
    "identity": (
        None,
        "A network without hidden neurons that gives its input back, in double precision. Nothing was trained. "
        + _REGISTER,
    ),
}


def write_card(folder: Path) -> None:
    """Write README.md from the training.json in `folder`."""
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    (folder / "README.md").write_text(card(record), encoding="utf-8")


def card(record: dict[str, Any]) -> str:
    """Return the card's Markdown for a training record."""
    name = record["name"]
    task, what = _WHAT[name if name in _WHAT else name.split("-")[0]]
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
