"""Pipelines for stitched models: any input that the source takes, any answer that the target gives.

Unlike transformers' own they read sound files by soundfile at any rate, prepare inputs exactly as the fit did (both
tokenizers of the length rule `spans`, the mask of padded sound), and cut long sound into windows for every answer.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.pipelines.base import ChunkPipeline

from hf_stitch.errors import ArtifactError, DataError, RecipeError
from hf_stitch.hooks.position_limit import Cut, telling
from hf_stitch.models.companions import tools_beside
from hf_stitch.models.configuration_stitched import StitchedConfig
from hf_stitch.models.pipelines.audio_windows import Window, check_lengths, quiet_windows
from hf_stitch.models.reading import read_input
from hf_stitch.models.tasks import CUSTOM, answer_of, check_task

logger = logging.getLogger(__name__)


class StitchedPipeline(ChunkPipeline):
    """What the custom tasks share: reading, preparing, windows, batches.

    Inputs: for sound arrays (t,) at the model's rate, {"raw" or "array", "sampling_rate"} at any rate, {"bytes"} or
    {"path"}, paths, or the bytes of a file; texts; for pictures paths, PIL pictures or arrays; for vectors arrays.
    One of them gives one answer, a list a list, a generator, Dataset or column an iterator that reads as it goes.

    Args of a call:
        batch_size: windows that run together; those of one sound and of several fill a batch alike.
        chunk_length_s, stride_length_s: cut sound into windows of so many seconds (stride: a sixth of that). Labels,
            generated text and vectors: borders at the quietest place within the stride of an even division. CTC:
            windows overlap by strides, whose positions are dropped.
    """

    # Nothing is loaded by transformers: `Preparer` loads what the fit used, and only that.
    _load_processor = False
    _load_image_processor = False
    _load_feature_extractor = False
    _load_tokenizer = False

    def __init__(self, model: Any, **kwargs: Any) -> None:
        if not isinstance(model.config, StitchedConfig):
            kind = type(model).__name__
            raise ArtifactError(
                f"{kind} is no stitched model, and the task {kwargs.get('task')!r} is for stitched models alone; "
                "expected a folder that `hf-stitch fit` wrote, or a Hub id of one"
            )
        # Before anything is loaded: a task that does not fit would misread the answer.
        check_task(model.config, kwargs.get("task") or CUSTOM[answer_of(model.config)])
        if not model.name_or_path and model.companions is None:
            raise RecipeError(
                "this stitched model has no folder to take its processors from: save it, or load it by name"
            )
        self.preparer, self.speller = tools_beside(model)
        super().__init__(model, **kwargs)

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:
        """Answer one input, a list of them, or as they come those of a generator, Dataset or column."""
        # A column of a Dataset is a sequence, but transformers would take it for one input.
        column = isinstance(inputs, Sequence) and not isinstance(inputs, str | bytes | list | tuple)
        return super().__call__((one for one in inputs) if column else inputs, **kwargs)

    def _sanitize_parameters(
        self, chunk_length_s: float | None = None, stride_length_s: float | None = None, **more: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        given = {"chunk_length_s": chunk_length_s, "stride_length_s": stride_length_s}
        return {key: value for key, value in given.items() if value is not None}, more, {}

    def preprocess(
        self, given: Any, chunk_length_s: float | None = None, stride_length_s: float | None = None
    ) -> Iterator[tuple[Any, Window | None]]:
        """Raw inputs of the model with the windows that they are; None for what was not cut."""
        kind = self.preparer.modality
        if kind != "audio":
            if chunk_length_s:
                raise DataError(f"chunk_length_s is for sound; this model takes {kind}")
            yield self._read(given), None
            return
        samples = self._read(given)
        if not chunk_length_s:
            if cut := self.preparer.cut(samples):
                logger.warning("sound: %s; or give chunk_length_s", cut)
            yield samples, None
            return
        # As transformers' own pipeline for speech recognition has it.
        stride = chunk_length_s / 6 if stride_length_s is None else stride_length_s
        for window in self._windows(samples, chunk_length_s, stride):
            piece = samples[window.start : window.stop]
            if cut := self.preparer.cut(piece):
                logger.warning("a window of sound: %s; give a shorter chunk_length_s", cut)
            yield piece, window

    def _windows(self, samples: np.ndarray, chunk: float, stride: float) -> list[Window]:
        rate = self.preparer.rate
        check_lengths(chunk, stride, self.preparer.minimum / rate)
        return quiet_windows(samples, rate, chunk, stride)

    def _read(self, given: Any) -> Any:
        raw, notes = read_input(self.preparer, given)
        if self.preparer.modality != "audio":  # what of a sound is lost depends on its windows
            shown = f"{raw[:40]!r}" if isinstance(raw, str) else "picture"
            for note in notes:
                logger.warning("%s: %s", shown, note)
        return raw

    def get_iterator(
        self,
        inputs: Any,
        num_workers: int,
        batch_size: int,
        preprocess_params: dict[str, Any],
        forward_params: dict[str, Any],
        postprocess_params: dict[str, Any],
    ) -> Iterator[Any]:
        """Answers in order, one an input; windows of several inputs share batches."""
        pieces = ((i, piece) for i, given in enumerate(inputs) for piece in self.preprocess(given, **preprocess_params))
        current, held = 0, list[Any]()
        while batch := list(islice(pieces, batch_size)):
            windows = [window for _, (_, window) in batch]
            prepared = self.preparer.batch([raw for _, (raw, _) in batch])
            with telling(partial(_warn, batch)):
                found = self.forward({"inputs": prepared, "windows": windows}, **forward_params)
            for (number, (_, window)), answer in zip(batch, found["answers"], strict=True):
                if number != current:
                    yield self.postprocess(held, **postprocess_params)
                    current, held = number, []
                held.append((window, answer))
        if held:
            yield self.postprocess(held, **postprocess_params)

    def run_single(self, inputs: Any, *params: dict[str, Any]) -> Any:
        return next(self.get_iterator([inputs], 0, self._batch_size or 1, *params))

    def seconds(self, window: Window) -> tuple[float, float]:
        """From when to when a window answers."""
        rate = self.preparer.rate
        return (window.start + window.left) / rate, (window.stop - window.right) / rate

    def _run(self, inputs: dict[str, Tensor]) -> Any:
        """The model's output, with trust where it has a gauge."""
        return self.model(**inputs, return_trust=self.model.trust is not None)

    def _trust(self, output: Any, row: int) -> dict[str, float]:
        return {} if self.model.trust is None else {"trust": float(output.trust[row])}


def _warn(batch: list[Any], cut: Cut) -> None:
    """Tell of an input of a batch that was cut; of sound pieces may be shorter by `chunk_length_s`."""
    number, (raw, _) = batch[cut.row]
    logger.warning("%s: %s", repr(raw[:40]) if isinstance(raw, str) else f"input {number + 1}", cut)


def _weighed(parts: list[tuple[Window | None, Tensor]]) -> Tensor:
    """Mean of rows (k,), weighed by how long each one's window is."""
    if len(parts) == 1:
        return parts[0][1]
    weights = torch.tensor([window.own for window, _ in parts if window], dtype=torch.float64)
    rows = torch.stack([row for _, row in parts])
    return (weights[:, None] * rows).sum(0) / weights.sum()
