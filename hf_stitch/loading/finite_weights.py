"""Weights that are numbers: one NaN makes every answer NaN, which could be taken for a label."""

from __future__ import annotations

import torch
from torch import nn

from hf_stitch.errors import ArtifactError


def check_weights(model: nn.Module, name: str, advice: str) -> None:
    """ArtifactError where a weight that is there holds NaN or an infinite number."""
    bad = [key for key, weight in model.named_parameters() if not _finite(weight)]
    if bad:
        raise ArtifactError(f"{name}: {len(bad)} weights hold NaN or infinite numbers (the first: {bad[0]}); {advice}")


def _finite(weight: torch.Tensor) -> bool:
    # Weights that are offloaded lie on `meta`; torch cannot ask formats of 8 bits.
    if weight.device.type == "meta" or not weight.is_floating_point():
        return True
    return bool((weight.float() if weight.itemsize == 1 else weight).isfinite().all())
