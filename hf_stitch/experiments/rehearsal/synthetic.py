"""Synthetic samples of the right kind and length, in a Parquet file with the columns that a recipe names."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hf_stitch.activations.frames import Frames
from hf_stitch.activations.hooked_model import HookedModel, alphabet_of
from hf_stitch.activations.ragged import Ragged
from hf_stitch.recipe.data import Data

WORDS = tuple(
    """the of and to in that was his with had for not but which they from were this have been one all would there when
    their more upon into some could them other than then over little before again never great people house morning
    evening water mountain answer question thought against children remember something between beautiful""".split()  # noqa: SIM905 - easier to read
)


def write_samples(
    data: Data, ends: tuple[HookedModel, HookedModel], count: int, seconds: float, words: int, path: Path
) -> Data:
    """Write `count` rows and return the request that reads them.

    Sounds are `seconds` long and texts have `words` words, up to a tenth more or less.
    """
    from datasets import Dataset

    draw = np.random.default_rng(0)
    columns = data.columns
    # Unequal lengths, so that padding and masks are tried out too.
    near = 1 + 0.1 * np.linspace(-1, 1, count)
    texts = [" ".join(draw.choice(WORDS, max(1, round(words * k)))) for k in near]
    table: dict[str, list[Any]] = {}
    for column, end in zip((columns.source, columns.target or columns.source), ends):
        if column not in table:
            table[column] = [_sample(end, text, seconds * k, draw) for text, k in zip(texts, near)]
    classes: list[Any] = list(ends[1].preparer.label2id or (0, 1))
    given: dict[str | None, list[Any]] = {
        # In turns: every class occurs, as far as the samples reach.
        columns.label: [classes[i % len(classes)] for i in range(count)],
        columns.text: texts,
        columns.times: [_times(text, seconds * k) for text, k in zip(texts, near)],
        columns.group: ["even" if i % 2 == 0 else "odd" for i in range(count)],
        columns.id: [f"synthetic-{i}" for i in range(count)],
        columns.colour: [float(i) for i in range(count)],
        columns.source_answer: _answers(ends[0], texts, draw),
        columns.target_answer: _answers(ends[1], texts, draw),
    }
    table |= {column: values for column, values in given.items() if column is not None and column not in table}
    Dataset.from_dict(table).to_parquet(str(path))
    known = {key: column for key, column in columns.model_dump().items() if column in table}
    return Data.model_validate({"dataset": str(path), "columns": known})


def _sample(end: HookedModel, text: str, seconds: float, draw: np.random.Generator) -> Any:
    preparer = end.preparer
    if preparer.modality == "text":
        return text
    if preparer.modality == "audio":
        return {"bytes": _sound(preparer.rate, seconds, draw), "path": None}
    if preparer.modality == "image":
        return {"bytes": _picture(draw), "path": None}
    shape = end.make_inputs(1, 1)[preparer.input_name].shape
    return draw.standard_normal(shape[-1]).tolist()


def _answers(end: HookedModel, texts: list[str], draw: np.random.Generator) -> list[Any]:
    if end.text_output is not None or end.head is not None:
        return texts
    return draw.standard_normal((len(texts), end.model.config.num_labels)).tolist()


def _sound(rate: int, seconds: float, draw: np.random.Generator) -> bytes:
    import soundfile

    file = io.BytesIO()
    # Noise at 0.1 of full scale, by hand: loud enough not to be taken for silence.
    soundfile.write(file, 0.1 * draw.standard_normal(round(rate * seconds)).clip(-5, 5), rate, format="WAV")
    return file.getvalue()


def _times(text: str, seconds: float) -> list[list[float]]:
    """Start and end of each word, evenly over the sound."""
    borders = np.linspace(0, seconds, len(text.split()) + 1)
    return np.stack([borders[:-1], borders[1:]], 1).tolist()


def _picture(draw: np.random.Generator) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(draw.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def with_spelled_paths(frames: Frames, source: HookedModel, texts: list[str]) -> Frames:
    """The same frames with a CTC path that spells each sample's text: random weights recognise nothing."""
    if frames.path is None or source.tokenizer is None:
        return frames
    alphabet = alphabet_of(source)
    letters = {symbol.lower(): number for number, symbol in alphabet.symbols.items()}
    paths = []
    for text, length in zip(texts, frames.source.lengths.tolist()):
        spelling = [alphabet.delimiter if c == " " else letters.get(c, alphabet.blank) for c in text.lower()]
        places = np.linspace(0, length - 1, min(len(spelling), length)).round().astype(int)
        path = np.full(length, alphabet.blank)
        path[places] = spelling[: len(places)]
        paths.append(torch.from_numpy(path))
    return dataclasses.replace(frames, path=Ragged(torch.cat(paths), frames.source.lengths))
