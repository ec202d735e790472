"""Answers that are pictures: some held-out samples, to be drawn in the report beside what should have been answered."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from hf_stitch.activations.observations import Observations
from hf_stitch.evaluation.answers import stitched_answers
from hf_stitch.evaluation.references import References
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.recipe.recipe import Recipe

DRAWN = 8


def grid_of(config: Any, outputs: int) -> tuple[int, int] | None:
    """Height and width of a model's output as a grey picture, where its `config.image_shape` says that it is one."""
    shape = getattr(config, "image_shape", None)
    if not isinstance(shape, list | tuple) or len(shape) != 2 or math.prod(shape) != outputs:
        return None
    return int(shape[0]), int(shape[1])


def pictures(model: StitchedModel, recipe: Recipe, observations: Observations, own: References) -> dict[str, Any]:
    """Rows of pictures of evenly spread test samples, for the report; empty where the answers are no pictures.

    Returns:
        `{"shape": [h, w], "samples": names, "rows": {title: pictures}}`; a picture is base64 of h * w grey levels.
    """
    grid = None if own.script else grid_of(observations.target.model.config, own.numbers.shape[1])
    if grid is None:
        return {}
    samples, frames = observations.samples["test"], observations.frames["test"]
    chosen = np.unique(np.linspace(0, len(samples) - 1, min(DRAWN, len(samples)) + 1).astype(int)[:-1])
    stitched = stitched_answers(model, frames, observations.texts(recipe, "test"), observations.runtime)
    rows: dict[str, np.ndarray] = {}
    given = grid_of(observations.source.model.config, np.size(samples.source(0)))
    if given == grid:
        rows["source's input"] = np.stack(samples.batch(chosen.tolist(), 0))
    assert isinstance(stitched, Tensor)
    rows["stitched"] = stitched.numpy()[chosen]
    if own.truth is not None:
        rows["what should be answered"] = own.truth[chosen]
    rows["target's own answer"] = own.numbers.numpy()[chosen]
    titles = {"nearest": "nearest fit sample", "nearest-pair": "nearest known pair"}
    rows |= {titles[name]: answers[chosen] for name, answers in own.retrieved.items()}
    low, high = min(row.min() for row in rows.values()), max(row.max() for row in rows.values())
    return {
        "shape": list(grid),
        "samples": [samples.keys[i] for i in chosen],
        "rows": {title: _encoded(row, low, high) for title, row in rows.items()},
    }


def _encoded(rows: np.ndarray, low: float, high: float) -> Sequence[str]:
    levels = np.round(255 * (rows - low) / max(high - low, 1e-12)).astype(np.uint8)
    return [base64.b64encode(row.tobytes()).decode("ascii") for row in levels]
