"""Models of half precision on a CPU: much of what they need is missing there or slow, so that they run in float32."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

HALF = (torch.float16, torch.bfloat16)


def widened(model: PreTrainedModel, name: str) -> str | None:
    """Give what a model on a CPU holds in half precision the same values in float32, in place; what is told of it.

    None of a model elsewhere, or of whole precision. What was asked for by a dtype is not to be given here.
    """
    if model.device.type != "cpu":
        return None
    narrow = [one for one in (*model.parameters(), *model.buffers()) if one.dtype in HALF]
    if not narrow:
        return None
    told = str(narrow[0].dtype).removeprefix("torch.")
    for one in narrow:
        one.data = one.data.float()
    for part in model.modules():
        config = getattr(part, "config", None)
        if config is not None and getattr(config, "dtype", None) in HALF:
            config.dtype = torch.float32
    return f"{name}: its weights are of {told}, and on a CPU it runs in float32"
