"""Logits that are numbers: the largest of NaN is by torch the first, which would be read as an answer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from hf_stitch.errors import ActivationError

ADVICE = "that is no answer; look at the input, or run in --dtype float32"


def check_logits(logits: Tensor, name: str) -> Tensor:
    """The logits (b, ...) themselves.

    Raises:
        ActivationError: NaN or infinite ones.
    """
    bad = ~logits.isfinite().flatten(1).all(1)
    if bool(bad.any()):
        raise ActivationError(f"{name}: NaN or infinite logits for {int(bad.sum())} of {len(logits)} inputs: {ADVICE}")
    return logits


class RefuseNaN(LogitsProcessor):
    """Stops `generate` at the first NaN; -inf is how transformers forbids a token."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if bool(scores.isnan().any()):
            raise ActivationError(f"{self.name}: NaN among the logits while it writes: {ADVICE}")
        return scores


def refusing_nan(model: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of a model's `generate`, with `RefuseNaN` first among its processors."""
    name = getattr(getattr(model, "config", None), "name_or_path", "") or type(model).__name__
    return {
        **settings,
        "logits_processor": LogitsProcessorList([RefuseNaN(name), *(settings.get("logits_processor") or [])]),
    }
