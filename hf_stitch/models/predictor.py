"""Predictions of a saved stitched model on files, bytes or texts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hf_stitch.errors import ArtifactError, DataError, RecipeError, StitchError
from hf_stitch.hooks.position_limit import Cut, telling
from hf_stitch.loading.audio import read_audio
from hf_stitch.loading.half_precision import widened
from hf_stitch.loading.images import read_picture
from hf_stitch.loading.processors import Preparer, target_tokenizer
from hf_stitch.loading.quiet import quiet
from hf_stitch.loading.tables import SOUND
from hf_stitch.loading.text_files import decoded, lines_of
from hf_stitch.models.answering import rows_of, text_output_of, write
from hf_stitch.models.files_digest import check_whole
from hf_stitch.models.hub.repository import local
from hf_stitch.models.labels import check_finite, labelled, shares
from hf_stitch.models.modeling_stitched import StitchedModel, random_notes
from hf_stitch.runtime.device import pick_device
from hf_stitch.runtime.torchaudio_extra import trouble

PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
BATCH = 8  # inputs that run together; by hand
LONG = 300  # seconds of sound from which on its length is told: memory grows with its square; by hand
Input = Path | str | bytes
LINES = (".csv", ".text", ".txt")
# Of a folder; a file that is named may be called anything.
FILES = {"audio": SOUND, "image": PICTURES, "text": LINES, "vector": LINES}
WHY = {
    "distance": "its activations are far from all that the fit has seen",
    "local": "its activations are far from all that the fit has seen",
    "extension": "its coordinates are far from those of the nearest activations of the fit",
    "image": "it is mapped to where the target's activations never were",
    "cycle": "it does not come back from the target's activations",
}


class Predictor:
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
        if abstain is not None and not 0 <= abstain <= 1:
            raise RecipeError(f"abstain: expected a share from 0 to 1, such as 0.02; got {abstain}")
        folder = local(name, revision)
        check_whole(folder)
        self.device = pick_device(device)
        with quiet():
            self.model = StitchedModel.from_pretrained(folder).to(self.device).eval()
        if abstain is not None and self.model.trust is None:
            raise ArtifactError(f"{folder} has no trust gauge to abstain by: fit it again with `trust: distance`")
        if abstain is not None and 0 < abstain <= self.model.trust.smallest:
            lowest = f"no score of this model is below {self.model.trust.smallest:.2g}"
            raise RecipeError(
                f"abstain: {abstain:g} refuses nothing, for {lowest}; give more, or fit with more samples"
            )
        if self.model.rule.needs_times:
            raise ArtifactError(
                f"{folder} takes the words of a sound and their times beside it (sequence.length: "
                f"{self.model.rule.state.length}): use "
                "`hf-stitch evaluate` with columns.times, or Preparer.batch(sounds, said) and the model itself"
            )
        self.abstain = abstain
        loaded = replace(Preparer.load(folder, self.model.config), device=self.device)
        self.preparer = loaded.for_width_of(self.model.prefix)
        self.text_output = text_output_of(self.model)
        self.tokenizer = target_tokenizer(folder) if self.text_output is not None else None
        if self.text_output is not None and self.tokenizer is None:
            raise ArtifactError(f"{folder} has no tokenizer of the target to spell its texts with; fit it again")
        self.on_note: Callable[[str], None] = lambda note: None  # told of each note as soon as it is there
        self.notes = random_notes(self.model)  # and what was done to inputs: resampled, cut
        if note := widened(self.model, str(name)):
            self.notes.append(note)
        if self.preparer.modality == "audio" and (broken := trouble()):
            self.notes.append(broken)

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
        for answer in self._predict(batch):
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
        if self.modality == "audio":
            name = "stdin" if isinstance(given, bytes) else str(given)
            sound = read_audio(
                given, self.preparer.rate, name=name, minimum=self.preparer.minimum, device=self.preparer.device
            )
            found = (*sound.notes, self.preparer.cut(sound.samples), self._too_long(sound.samples))
            self._note(*(f"{name}: {note}" for note in found if note))
            yield name, sound.samples
        elif self.modality == "image":
            name, notes = "stdin" if isinstance(given, bytes) else str(given), list[str]()
            picture = read_picture(given, name, notes)
            self._note(*(f"{name}: {note}" for note in (*notes, self.preparer.cut(picture)) if note))
            yield name, picture
        else:
            for line in _lines(given):
                if self.modality == "text" and (cut := self.preparer.cut(line)):
                    self._note(f"{line[:40]!r}: {cut}")
                yield line, line if self.modality == "text" else _numbers(line, self.preparer.width)

    def _predict(self, batch: list[tuple[str, Any]]) -> list[dict[str, Any] | DataError]:
        """Answers to a batch; where there are none to all of it, input by input, each with its answer or its error."""
        if not batch:
            return []
        cuts: list[Cut] = []
        try:
            with telling(cuts.append), torch.inference_mode():
                found = self._run(batch)
        except (ArtifactError, RecipeError):  # of the model, whatever the input
            raise
        except (StitchError, RuntimeError, IndexError, ValueError, MemoryError) as error:
            if len(batch) > 1:
                return [answer for one in batch for answer in self._predict([one])]
            if isinstance(error, MemoryError | torch.OutOfMemoryError):
                raise
            why = str(error)
            if not isinstance(error, StitchError):
                why = f"the model fails on it ({type(error).__name__}: {why}); give another, or a shorter one"
            return [DataError(f"{batch[0][0]}: {why}")]
        self._note(*(f"{self._shown(batch[cut.row][0])}: {cut}" for cut in cuts))
        return found

    def _note(self, *notes: str) -> None:
        self.notes += notes
        for note in notes:
            self.on_note(note)

    def _too_long(self, samples: np.ndarray) -> str | None:
        """What is told of a sound that the model reads whole, however long it takes; None of a short one."""
        seconds = len(samples) / self.preparer.rate
        if self.preparer.sound_limit is not None or seconds <= LONG:
            return None
        return (
            f"{seconds / 60:.0f} minutes are read in one piece, which takes much time and memory; a pipeline with "
            "chunk_length_s reads it in windows"
        )

    def _shown(self, name: str) -> str:
        return repr(name[:40]) if self.modality == "text" else name

    def _run(self, batch: list[tuple[str, Any]]) -> list[dict[str, Any] | DataError]:
        inputs = {key: value.to(self.device) for key, value in self.preparer.batch([raw for _, raw in batch]).items()}
        trusted = self.model.trust is not None
        if self.text_output is not None:
            tokens, trust = write(self.model, inputs, trusted)
            texts = self.text_output.texts(tokens, self.tokenizer)
            answers = [{"input": name, "text": text} for (name, _), text in zip(batch, texts)]
            if trust is None:
                return [*answers]
            return [self._trusted(answer, trust.score, trust.parts, i) for i, answer in enumerate(answers)]
        output = self.model(**inputs, return_trust=trusted)
        logits = rows_of(output)
        if logits is None:
            shapes = ", ".join(f"{k} {tuple(v.shape)}" for k, v in output.items() if isinstance(v, Tensor))
            raise ArtifactError(f"expected one row of logits or a vector an input; the target gives {shapes}")
        # float64: softmax in half precision gives scores that do not sum to 1.
        found = [self._labelled(name, row) for (name, _), row in zip(batch, logits.double().cpu())]
        if not trusted:
            return found
        scores, parts = output.trust, output.trust_parts
        return [self._trusted(answer, scores, parts, i) for i, answer in enumerate(found)]

    def _labelled(self, name: str, logits: Tensor) -> dict[str, Any] | DataError:
        config = self.model.config
        try:
            return {"input": name, **labelled(config, shares(config, logits))}
        except DataError as error:
            return DataError(f"{name}: {error}")

    def _trusted(
        self, answer: dict[str, Any] | DataError, scores: Tensor, shares: dict[str, Tensor], i: int
    ) -> dict[str, Any] | DataError:
        """The answer with how far the i-th input lies from the fit, and without its answer where that is too far."""
        if isinstance(answer, DataError):
            return answer
        try:
            check_finite(self.model.config, torch.stack([scores[i], *(share[i] for share in shares.values())]))
        except DataError as error:
            return DataError(f"{answer['input']}: {error}")
        trust = float(scores[i])
        parts = {name: float(share[i]) for name, share in shares.items()}
        told: dict[str, Any] = {"trust": trust, "trust_parts": parts}
        if self.abstain is None or trust >= self.abstain:
            return answer | told
        # The ingredient that by itself is the least usual says why.
        part = min(parts, key=lambda name: parts[name])
        why = f"trust {trust:.3g} is below {self.abstain:g}: {WHY[part]}"
        return answer | {key: None for key in answer if key != "input"} | told | {"abstained": why}


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
            raise DataError(f"{given!s}: {why}; expected a text file") from None
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
