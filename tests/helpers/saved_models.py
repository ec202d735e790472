"""Saved tiny stitched models: loaded, and given inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers as tf
from pico_speech import say
from torch import Tensor

from hf_stitch.loading.processors import Preparer
from hf_stitch.models.modeling_stitched import StitchedModel

TEXTS = ["the film was very good", "boring", "i never like this play"]
SOUNDS = [say("so it not a"), say("a i"), say("not so")]


def load(folder: Path, **more: Any) -> StitchedModel:
    return StitchedModel.from_pretrained(folder, **more).eval()


def inputs_of(folder: Path, raws: list[Any] | None = None) -> dict[str, Tensor]:
    preparer = Preparer.load(folder, tf.AutoConfig.from_pretrained(folder))
    return preparer.batch(raws if raws is not None else SOUNDS if preparer.modality == "audio" else TEXTS)
