"""Predictions of a saved stitched model on files, bytes or texts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hf_stitch.errors import DataError
from hf_stitch.loading.half_precision import widened
from hf_stitch.loading.media_folders import SOUND
from hf_stitch.loading.processors import Preparer, target_tokenizer
from hf_stitch.loading.quiet import quiet
from hf_stitch.loading.text_files import decoded, lines_of
from hf_stitch.models.batch_predictor import BatchPredictor, check_share
from hf_stitch.models.files_digest import check_whole
from hf_stitch.models.hub.repository import local
from hf_stitch.models.modeling_stitched import StitchedModel, random_notes
from hf_stitch.models.reading import read_input
from hf_stitch.runtime.device import pick_device
from hf_stitch.runtime.torchaudio_extra import trouble

PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
BATCH = 8  # inputs that run together; by hand
LONG = 300  # seconds of sound from which on its length is told: memory grows with its square; by hand
Input = Path | str | bytes
LINES = (".csv", ".text", ".txt")
# Of a folder; a file that is named may be called anything.
FILES = {"audio": SOUND, "image": PICTURES, "text": LINES, "vector": LINES}


class Predictor(BatchPredictor):
    """Loads a stitched model once; calling it predicts.

    Args:
        name: the folder that `hf-stitch fit` wrote, or a Hub id. revision: of a Hub id.
        device: see `hf_stitch.runtime.device.pick_device`.
        abstain: answer nothing where the trust score is below this share, such as 0.02; absent: always answer.

    Raises:
        ArtifactError: no stitched model there, or one without a trust gauge that is to abstain.
        HubError: the Hub does not give it. RecipeError: no such device, or a share that is none.
    """

    def __init__(
        self, name: str | Path, device: str | None = None, abstain: float | None = None, revision: str | None = None
    ) -> None:
        check_share(abstain)
        folder = local(name, revision)
        check_whole(folder)
        picked = pick_device(device)
        with quiet():
            model = StitchedModel.from_pretrained(folder).to(picked).eval()
        loaded = replace(Preparer.load(folder, model.config), device=picked).for_width_of(model.prefix)
        super().__init__(model, loaded, target_tokenizer(folder), abstain, folder)
        self.notes = random_notes(model)
        if note := widened(model, str(name)):
            self.notes.append(note)
        if self.modality == "audio" and (broken := trouble()):
            self.notes.append(broken)

    def __call__(
        self, inputs: Iterable[Input], on_error: Callable[[DataError], None] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Predict in batches of 8, in order, reading inputs as they come.

        Args:
            inputs: for sound paths or the bytes of a file; for text strings, or paths of files with one text a line;
                for vectors strings of numbers or such files; for pictures paths. A folder stands for such files in it.
            on_error: told of an input that cannot be used or answered, which is then left out; absent: the error is
                raised.

        Yields:
            {"input", "text"} of a target that writes, {"input", "label", "score", "scores"} of a classifier (scores by
            label, from softmax, or from a sigmoid each where several labels may hold), {"input", "values"} of a
            regression or a vector; with a trust gauge also "trust" and "trust_parts". Where it abstains all of the
            answer is None, and "abstained" says why. What was done to inputs is in `notes`.

        Raises:
            DataError: an input that cannot be used, or to which the model's answer is NaN; what came before it has
                been yielded.
        """
        batch: list[tuple[str, Any]] = []
        for named in self._readings(inputs):
            if not isinstance(named, DataError):
                batch.append(named)
            if isinstance(named, DataError) or len(batch) == BATCH:
                # What came before is answered first, so that answers stay in the order of the inputs.
                yield from self._answered(batch, on_error)
                batch = []
            if isinstance(named, DataError):
                _tell(named, on_error)
        yield from self._answered(batch, on_error)

    def _readings(self, inputs: Iterable[Input]) -> Iterator[tuple[str, Any] | DataError]:
        """Names and raw inputs in order, and in their places those that cannot be read."""
        for given in self._each(inputs):
            if isinstance(given, DataError):
                yield given
                continue
            try:
                yield from self._read(given)
            except DataError as error:
                yield error

    def _answered(
        self, batch: list[tuple[str, Any]], on_error: Callable[[DataError], None] | None
    ) -> Iterator[dict[str, Any]]:
        """The answers to a batch, and told in their places the inputs to which the model has none."""
        for answer in self.predict(batch):
            if isinstance(answer, DataError):
                _tell(answer, on_error)
            else:
                yield answer

    def _each(self, inputs: Iterable[Input]) -> Iterator[Input | DataError]:
        """The inputs, in place of a folder the files in it that this model can read, by name."""
        kinds = FILES[self.modality]
        for given in inputs:
            # A string is a path where it cannot be the input itself.
            path = Path(given) if isinstance(given, str) and self.modality in ("audio", "image") else given
            if not isinstance(path, Path) or not os.path.isdir(path):  # unlike Path.is_dir, whatever the name's length
                yield given
                continue
            found = [file for file in sorted(path.rglob("*")) if file.suffix.lower() in kinds and file.is_file()]
            yield from found
            if not found:
                yield DataError(f"{path}: no files of {self.modality} in this folder; expected {', '.join(kinds)}")

    def _read(self, given: Input) -> Iterator[tuple[str, Any]]:
        """Names and raw inputs of what was given."""
        if self.modality in ("audio", "image"):
            name = "stdin" if isinstance(given, bytes) else str(given)
            raw, notes = read_input(self.preparer, given, name)
            if self.modality == "audio" and (long := self._too_long(raw)):
                notes.append(long)
            self.note(*(f"{name}: {note}" for note in notes))
            yield name, raw
        else:
            for line in _lines(given):
                if self.modality == "text" and (cut := self.preparer.cut(line)):
                    self.note(f"{line[:40]!r}: {cut}")
                yield line, line if self.modality == "text" else _numbers(line, self.preparer.width)

    def _too_long(self, samples: np.ndarray) -> str | None:
        """What is told of a sound that the model reads whole, however long it takes; None of a short one."""
        seconds = len(samples) / self.preparer.rate
        if self.preparer.sound_limit is not None or seconds <= LONG:
            return None
        return (
            f"{seconds / 60:.0f} minutes are read in one piece, which takes much time and memory; a pipeline with "
            "chunk_length_s reads it in windows"
        )


def _tell(error: DataError, on_error: Callable[[DataError], None] | None) -> None:
    if on_error is None:
        raise error
    on_error(error)


def _lines(given: Input) -> list[str]:
    """The string itself, or the lines of a file or of bytes that are not blank."""
    if isinstance(given, str):
        lines = [given]
    else:
        try:
            content = given if isinstance(given, bytes) else given.read_bytes()
            lines = lines_of(decoded(content, "stdin" if isinstance(given, bytes) else str(given)))
        except OSError as error:
            why = (error.strerror or "cannot be read").lower()
            todo = "expected a text file (texts themselves come by a pipe: echo TEXT | hf-stitch predict DIR)"
            raise DataError(f"{given!s}: {why}; {todo}") from None
    kept = [line.strip() for line in lines if line.strip()]
    if not kept:
        name = given if isinstance(given, Path) else "input"
        raise DataError(f"{name}: blank; expected one text a line")
    return kept


def _numbers(line: str, width: int | None) -> np.ndarray:
    try:
        numbers = np.array([float(word) for word in line.replace(",", " ").strip("[] ").split()])
    except ValueError:
        raise DataError(f"{line[:60]!r}: expected numbers with blanks or commas between them") from None
    if not len(numbers) or not np.isfinite(numbers).all():
        raise DataError(f"{line[:60]!r}: expected finite numbers")
    if width not in (None, len(numbers)):
        raise DataError(f"{line[:60]!r}: expected {width} numbers, as many as the model takes; got {len(numbers)}")
    return numbers
