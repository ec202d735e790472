"""Predictions of a saved stitched model on files, bytes or texts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hf_stitch.audio import read_audio
from hf_stitch.errors import ArtifactError, DataError
from hf_stitch.loading import pick_device, quiet
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.preparation import Preparer

BATCH = 8
Input = Path | str | bytes


class Predictor:
    """Loads a stitched model once; calling it predicts.

    Args:
        folder: what `hf-stitch fit` wrote. device: see `hf_stitch.loading.pick_device`.

    Raises:
        ArtifactError: no stitched model there. RecipeError: no such device.
    """

    def __init__(self, folder: str | Path, device: str | None = None) -> None:
        if not Path(folder).is_dir():
            raise ArtifactError(f"{folder}: no such folder; expected one that `hf-stitch fit` wrote")
        self.device = pick_device(device)
        with quiet():
            self.model = StitchedModel.from_pretrained(folder).to(self.device).eval()
        self.preparer = Preparer.load(folder, self.model.config)
        self.notes: list[str] = []  # what was done to inputs: resampled, cut

    @property
    def modality(self) -> str:
        """What the source takes: audio, text, image or vector."""
        return self.preparer.modality

    def __call__(
        self, inputs: Iterable[Input], on_error: Callable[[DataError], None] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Predict in batches of 8, in order, reading inputs as they come.

        Args:
            inputs: for sound paths or the bytes of a file; for text strings, or paths of files with one text a line;
                for vectors strings of numbers or such files; for pictures paths.
            on_error: told of an input that cannot be used, which is then left out; absent: the error is raised.

        Yields:
            {"input", "label", "score", "scores"} of a classifier (scores by label, from softmax, or from a sigmoid each
            where several labels may hold), {"input", "values"} of a regression. What was done to inputs is in `notes`.

        Raises:
            DataError: an input that cannot be used; what came before it has been yielded.
        """
        batch: list[tuple[str, Any]] = []
        for given in inputs:
            try:
                for named in self._read(given):
                    batch.append(named)
                    if len(batch) == BATCH:
                        yield from self._predict(batch)
                        batch = []
            except DataError as error:
                yield from self._predict(batch)
                batch = []
                if on_error is None:
                    raise
                on_error(error)
        yield from self._predict(batch)

    def _read(self, given: Input) -> Iterator[tuple[str, Any]]:
        """Names and raw inputs of what was given."""
        if self.modality == "audio":
            name = "stdin" if isinstance(given, bytes) else str(given)
            sound = read_audio(given, self.preparer.rate, name=name, minimum=self.preparer.minimum)
            self.notes += [f"{name}: {note}" for note in sound.notes]
            yield name, sound.samples
        elif self.modality == "image":
            yield str(given), _picture(given)
        else:
            for line in _lines(given):
                if self.modality == "text" and (cut := self.preparer.cut(line)):
                    self.notes.append(f"{line[:40]!r}: {cut}")
                yield line, line if self.modality == "text" else _numbers(line)

    def _predict(self, batch: list[tuple[str, Any]]) -> list[dict[str, Any]]:
        if not batch:
            return []
        inputs = {key: value.to(self.device) for key, value in self.preparer.batch([raw for _, raw in batch]).items()}
        with torch.inference_mode():
            logits = self.model(**inputs).logits
        if logits.ndim != 2:
            raise ArtifactError(f"expected one row of logits an input; the target gives {tuple(logits.shape)}")
        return [{"input": name, **self._answer(row)} for (name, _), row in zip(batch, logits.double().cpu())]

    def _answer(self, logits: Tensor) -> dict[str, Any]:
        config = self.model.config
        problem = getattr(config, "problem_type", None)
        classifier = "Classification" in config.suffix.get("class", "Classification")
        if problem == "regression" or not classifier or len(logits) == 1:
            return {"values": logits.tolist()}
        chances = logits.sigmoid() if problem == "multi_label_classification" else logits.softmax(-1)
        names = {int(number): str(name) for number, name in config.id2label.items()}
        scores = {names.get(i, str(i)): float(chance) for i, chance in enumerate(chances)}
        label = max(scores, key=lambda name: scores[name])
        return {"label": label, "score": scores[label], "scores": scores}


def _lines(given: Input) -> list[str]:
    """The string itself, or the lines of a file or of bytes that are not blank."""
    if isinstance(given, str):
        lines = [given]
    else:
        try:
            content = given if isinstance(given, bytes) else given.read_bytes()
            lines = content.decode("utf-8").splitlines()
        except OSError as error:
            why = (error.strerror or "cannot be read").lower()
            raise DataError(f"{given!s}: {why}; expected a text file") from None
        except UnicodeDecodeError:
            name = "stdin" if isinstance(given, bytes) else given
            raise DataError(f"{name}: not text in UTF-8; expected one text a line") from None
    kept = [line.strip() for line in lines if line.strip()]
    if not kept:
        name = given if isinstance(given, Path) else "input"
        raise DataError(f"{name}: blank; expected one text a line")
    return kept


def _numbers(line: str) -> np.ndarray:
    try:
        numbers = np.array([float(word) for word in line.replace(",", " ").strip("[] ").split()])
    except ValueError:
        raise DataError(f"{line[:60]!r}: expected numbers with blanks or commas between them") from None
    if not len(numbers) or not np.isfinite(numbers).all():
        raise DataError(f"{line[:60]!r}: expected finite numbers")
    return numbers


def _picture(given: Input) -> Any:
    import io

    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(io.BytesIO(given) if isinstance(given, bytes) else given).convert("RGB")
    except (OSError, UnidentifiedImageError):
        raise DataError(f"{given!s}: no picture that Pillow can read") from None
