"""Which half of a stitched model each input belongs to."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput

from hf_stitch.errors import ActivationError

MAIN = ("input_values", "input_features", "input_ids", "pixel_values", "inputs")
"""Names of main inputs; that of the source comes first, one that only the target takes goes there (CLIP)."""


def split(
    prefix: nn.Module, plan: Mapping[str, Any], given: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Main inputs for the source, and those for the target.

    Args:
        plan: of the suffix. given: main inputs by name, None where there is none.

    Raises:
        ActivationError: an input that neither takes.
    """
    present = {key: value for key, value in given.items() if value is not None}
    own = getattr(prefix, "main_input_name", None)
    if set(present) == {own}:
        return present, {}
    accepted = inspect.signature(prefix.forward).parameters
    mine = {key: value for key, value in present.items() if key in accepted}
    rest = {key: value for key, value in present.items() if key not in accepted}
    for key in rest:
        if key not in plan.get("given", ()):
            raise ActivationError(
                f"the source takes {own}; got {key}: prepare inputs with the processor saved beside it"
            )
    return mine, rest


def for_target(suffix: nn.Module, given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of the target beside its activations: those that are there.

    Raises:
        ActivationError: one that the target does not take.
    """
    present = {key: value for key, value in given.items() if value is not None}
    if not present:
        return present
    accepted = inspect.signature(suffix.forward).parameters
    wrong = [key for key in present if key not in accepted]
    if wrong:
        taken = [key for key in accepted if key in given or key == "labels"]
        raise ActivationError(
            f"the target, a {type(suffix).__name__}, takes no {', '.join(wrong)}; beside its activations it takes "
            f"{', '.join(taken) or 'nothing'}"
        )
    return present


def as_states(encoder_outputs: Any) -> Any:
    """States of an encoder in the form that models take them in."""
    if isinstance(encoder_outputs, Tensor):
        return BaseModelOutput(last_hidden_state=encoder_outputs)
    return encoder_outputs


def right_padded(ids: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Tokens and mask (b, t) with each row's padding behind its real positions, where pipelines put it before.

    Models that count positions from the first token would take padding on the left for text.
    """
    if mask is None or bool(mask[:, 0].all()):
        return ids, mask
    # stable: real tokens keep their order.
    order = (~mask.bool()).long().argsort(dim=1, stable=True)
    rows = torch.arange(len(ids), device=ids.device)[:, None]
    return ids[rows, order], mask[rows, order]
