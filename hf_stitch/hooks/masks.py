"""Which of the timesteps at a hook point are real and which are padding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from hf_stitch.errors import HookError
from hf_stitch.hooks.points import HookPoint
from hf_stitch.hooks.position_lengths import WINDOW, length_by, positions_of


def input_mask_of(inputs: Mapping[str, Any], main: str, point: HookPoint) -> Tensor | None:
    """The mask that came with the inputs; all of them are real where none did and the model adds padding of its own."""
    given: Tensor | None = inputs.get("attention_mask")
    if given is None and point.lengths == WINDOW and main in inputs:
        return torch.ones(inputs[main].shape[:2], dtype=torch.long, device=inputs[main].device)
    return given


def timestep_mask(
    model: PreTrainedModel, attention_mask: Tensor | None, activation: Tensor, point: HookPoint | None = None
) -> Tensor:
    """Mask of the timesteps of an activation (b, t, m) whose model was given `attention_mask` (b, raw length).

    Models that shorten their input: how many positions are left of so many is known of the hook point, or the model's
    own length formula says it.

    Args:
        point: where the activation is from.

    Returns:
        (b, t) bool.

    Raises:
        HookError: nobody knows how the input's length becomes the activation's; padding before a shortened input.
    """
    batch, length, device = *activation.shape[:2], activation.device
    if attention_mask is None or length == 1:
        return torch.ones(batch, length, dtype=torch.bool, device=device)
    lengths = None if point is None else point.lengths
    if lengths is not None and lengths[0] == 0:
        return torch.ones(batch, length, dtype=torch.bool, device=device)
    places = attention_mask.shape[1]
    if places == length and lengths in (None, WINDOW):
        return attention_mask.bool()
    if lengths == WINDOW and length > places:
        return torch.nn.functional.pad(attention_mask.bool(), (0, length - places))
    steps = torch.arange(length, device=device)[None]
    # The hook point's own first: it was measured there.
    if lengths is not None and positions_of(lengths, places) == length:
        _check_right_padded(attention_mask, model)
        # A row of nothing but padding has no position, whatever the formula makes of 0.
        counts = attention_mask.sum(-1)
        return steps < (positions_of(lengths, counts) * (counts > 0)).to(device)[:, None]
    # Lengths, not the models' `_get_feature_vector_attention_mask`: that makes nearly all frames of an empty row real.
    if length_by(model, places) == length:
        real = torch.tensor([length_by(model, int(count)) for count in attention_mask.sum(-1)], device=device)
        return steps < real[:, None]
    raise HookError(
        f"the activation has {length} timesteps, its input {places}, and {type(model).__name__} "
        "does not say how one becomes the other; hook a layer behind the feature extractor"
    )


def _check_right_padded(attention_mask: Tensor, model: PreTrainedModel) -> None:
    first = attention_mask[:, 0].bool() | ~attention_mask.bool().any(1)
    if not bool(first.all()):
        raise HookError(
            f"{type(model).__name__} makes one position of several at this hook point, and its batches are padded on "
            "the left, so that some would hold padding and text; set padding_side of its tokenizer to right"
        )
