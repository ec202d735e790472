"""From a target's row of logits to labels with scores; NaN is no answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hf_stitch.errors import DataError
from hf_stitch.hooks.finite_logits import ADVICE

if TYPE_CHECKING:
    from hf_stitch.models.configuration_stitched import StitchedConfig

NEVER = -1e4  # a logit of what is not said; half precision still holds it. By hand.


def _classifies(config: StitchedConfig, width: int) -> bool:
    suffix = config.ends["suffix"]
    known = "Classification" in (suffix.get("kind") or suffix.get("class", "Classification"))
    classes = known or suffix.get("answers") == "labels"
    return classes and width > 1 and getattr(config, "problem_type", None) != "regression"


def shares(config: StitchedConfig, logits: Tensor) -> Tensor:
    """Chances (..., k) of a classifier: softmax, or a sigmoid each where several labels may hold; else logits as is.

    Raises:
        DataError: NaN or infinite logits.
    """
    check_finite(config, logits)
    if not _classifies(config, logits.shape[-1]):
        return logits
    several = getattr(config, "problem_type", None) == "multi_label_classification"
    return logits.sigmoid() if several else logits.softmax(-1)


def check_finite(config: StitchedConfig, answer: Tensor) -> None:
    """DataError by the name of the model where its answer to an input holds NaN or infinite numbers."""
    if not bool(answer.isfinite().all()):
        raise DataError(f"the model {config.name_or_path or 'itself'} answers with NaN or infinite numbers: {ADVICE}")


def labelled(config: StitchedConfig, found: Tensor) -> dict[str, Any]:
    """{"label", "score", "scores"} of a row (k,) of chances, {"values"} of a row that holds none."""
    if not _classifies(config, len(found)):
        return {"values": found.tolist()}
    names = {int(number): str(name) for number, name in config.id2label.items()}
    scores = {names.get(i, str(i)): float(chance) for i, chance in enumerate(found)}
    label = max(scores, key=lambda name: scores[name])
    return {"label": label, "score": scores[label], "scores": scores}


def silent(logits: Tensor, mask: Tensor, blank: int) -> Tensor:
    """CTC logits (b, t, k) that spell nothing where the mask (b, t) says padding: pipelines read what stands there."""
    if logits.shape[:2] != mask.shape or bool(mask.all()):
        return logits
    nothing = torch.full_like(logits[0, 0], NEVER)
    nothing[blank] = 0
    return torch.where(mask.unsqueeze(-1), logits, nothing)
