"""Which timesteps at a hook point are real and which are padding."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedModel

from hf_stitch.errors import HookError


def timestep_mask(model: PreTrainedModel, attention_mask: Tensor | None, activation: Tensor) -> Tensor:
    """Mask of the timesteps of an activation (b, t, m) whose model was given `attention_mask` (b, raw length).

    Audio models shorten their input: their own length formula gives the number of real frames.

    Returns:
        (b, t) bool.

    Raises:
        HookError: the activation has neither the input's length nor the model's frame count.
    """
    batch, length, device = *activation.shape[:2], activation.device
    if attention_mask is None or length == 1:
        return torch.ones(batch, length, dtype=torch.bool, device=device)
    if attention_mask.shape[1] == length:
        return attention_mask.bool()
    # Lengths, not the models' `_get_feature_vector_attention_mask`: that makes nearly all frames of an empty row real.
    name = "_get_feat_extract_output_lengths"
    shorten = getattr(model, name, None) or getattr(getattr(model, "encoder", None), name, None)
    if shorten is not None:
        real = shorten(attention_mask.sum(-1)).to(device)
        if int(shorten(torch.tensor(attention_mask.shape[1]))) == length:
            return torch.arange(length, device=device)[None] < real[:, None]
    raise HookError(
        f"the activation has {length} timesteps, its input {attention_mask.shape[1]}, and {type(model).__name__} "
        "does not say how one becomes the other; hook a layer behind the feature extractor"
    )
