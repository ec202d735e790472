"""Answers that are pictures: some held-out samples, to be drawn in the report beside what should have been answered."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from hf_stitch.activations.frames import Answers, Frames
from hf_stitch.evaluation.answer_kinds.base import References
from hf_stitch.loading.samples import Samples
from hf_stitch.models.modeling_stitched import StitchedModel

DRAWN = 8  # by hand
TITLES = {"nearest": "nearest fit sample", "nearest-pair": "nearest known pair"}


def grid_of(config: Any, outputs: int) -> tuple[int, int] | None:
    """Height and width of a model's output as a grey picture, where its `config.image_shape` says that it is one."""
    shape = getattr(config, "image_shape", None)
    if not isinstance(shape, list | tuple) or len(shape) != 2 or math.prod(shape) != outputs:
        return None
    return int(shape[0]), int(shape[1])


def pictures(
    model: StitchedModel, samples: Samples, frames: Frames, answers: Answers, own: References
) -> dict[str, Any]:
    """Rows of pictures of evenly spread samples, for the report; empty where the answers are no pictures.

    Args:
        answers: the model's (n, k).

    Returns:
        `{"shape": [h, w], "samples": names, "rows": {title: pictures}}`; a picture is base64 of h * w grey levels.
    """
    if not isinstance(answers, Tensor) or not isinstance(frames.output, Tensor):
        return {}
    grid = grid_of(model.config.target, frames.output.shape[1])
    if grid is None:
        return {}
    # One more, without the last: where samples go round in a circle, the last would be the first again.
    chosen = np.unique(np.linspace(0, len(samples) - 1, min(DRAWN, len(samples)) + 1).astype(int)[:-1])
    rows: dict[str, np.ndarray] = {}
    if grid_of(model.config.source, np.size(samples.source(0))) == grid:
        rows["source's input"] = np.stack(samples.batch(chosen.tolist(), 0))
    rows["stitched"] = answers.numpy()[chosen]
    if own.truth is not None:
        rows["what should be answered"] = own.truth[chosen]
    rows["target's own answer"] = frames.output.numpy()[chosen]
    rows |= {title: own.controls[name][chosen] for name, title in TITLES.items() if name in own.controls}
    # One grey scale for all rows, so that brightness can be compared between them.
    low, high = min(row.min() for row in rows.values()), max(row.max() for row in rows.values())
    return {
        "shape": list(grid),
        "samples": [samples.keys[i] for i in chosen],
        "rows": {title: _encoded(row, low, high) for title, row in rows.items()},
    }


def _encoded(rows: np.ndarray, low: float, high: float) -> Sequence[str]:
    levels = np.round(255 * (rows - low) / max(high - low, 1e-12)).astype(np.uint8)
    return [base64.b64encode(row.tobytes()).decode("ascii") for row in levels]
