"""Which half of a stitched model each input belongs to."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput

from hf_stitch.errors import ActivationError, nearest
from hf_stitch.hooks.arguments import arguments_of

MAIN = ("input_values", "input_features", "input_ids", "pixel_values", "inputs")
"""Names of main inputs; that of the source comes first, one that only the target takes goes there (CLIP)."""
SWITCHES = {
    "output_hidden_states": "hidden states",
    "output_attentions": "attentions",
    "use_cache": "keys and values",
}
"""Arguments that ask for further outputs, with what these are."""
_OF_TARGET = ("decoder_", "encoder_", "past_", "cache", "labels")  # states of a generation, never inputs of the source


def split(
    prefix: nn.Module, plan: Mapping[str, Any], given: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Main inputs for the source, and those for the target.

    Args:
        plan: of the suffix. given: main inputs by name, None where there is none.

    Raises:
        ActivationError: an input that neither takes.
    """
    present = _present(given)
    own = getattr(prefix, "main_input_name", None)
    if set(present) == {own}:
        return present, {}
    accepted = arguments_of(prefix)
    mine = {key: value for key, value in present.items() if key in accepted}
    rest = {key: value for key, value in present.items() if key not in accepted}
    for key in rest:
        if key not in plan.get("given", ()):
            raise ActivationError(
                f"the source takes {own}; got {key}: prepare inputs with the processor saved beside it"
            )
    return mine, rest


def route(
    prefix: nn.Module, suffix: nn.Module, given: Mapping[str, Any], own: Collection[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments beside those that a stitched model knows itself, for the source and for the target.

    What both take is the source's, for the target has its own inputs by `target_inputs`; what a loss is computed from
    is the target's, for the source ends before it.

    Args:
        own: the names that the stitched model knows itself.

    Raises:
        ActivationError: one that neither takes, or an output that a part of a model does not have.
    """
    if not given:
        return {}, {}
    of_source, of_target = (arguments_of(half) for half in (prefix, suffix))
    mine, rest = dict[str, Any](), dict[str, Any]()
    for key, value in given.items():
        if key in SWITCHES:
            if value is not None and value is not False:
                raise ActivationError(
                    f"{key}: {SWITCHES[key]} of the layers that a stitched model leaves out are not there; leave it "
                    "away, and ask the whole models for them"
                )
        elif key in of_source and not (_for_loss(key) and key in of_target):
            mine[key] = value
        elif key in of_target:
            rest[key] = value
        else:
            kinds = " nor ".join(type(half).__name__ for half in (prefix, suffix))
            known = {*own, *of_source, *of_target} - {"self", "args", "kwargs"}
            raise ActivationError(f"neither {kinds} takes {key}; {nearest(key, known)}")
    return _present(mine), _present(rest)


def _present(given: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in given.items() if value is not None}


def _for_loss(key: str) -> bool:
    return "label" in key or "loss" in key or key in ("start_positions", "end_positions")


def asked_of_source(prefix: nn.Module, settings: Any, given: Collection[str]) -> list[str]:
    """Those arguments of `generate` that are inputs of the source; all others are the target's.

    Args:
        settings: generation settings, whose names are never inputs.
    """
    accepted = arguments_of(prefix)
    return [k for k in given if k in accepted and not hasattr(settings, k) and not k.startswith(_OF_TARGET)]


def for_target(suffix: nn.Module, given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of the target beside its activations: those that are there.

    Raises:
        ActivationError: one that the target does not take.
    """
    present = _present(given)
    if not present:
        return present
    accepted = arguments_of(suffix)
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
    """Tokens (b, t), or what belongs to each, and mask (b, t) with padding behind the real positions of each row.

    Pipelines put it before. Models that count positions from the first token would take padding on the left for text.
    """
    if mask is None or bool(mask[:, 0].all()):
        return ids, mask
    # stable: real tokens keep their order.
    order = (~mask.bool()).long().argsort(dim=1, stable=True)
    rows = torch.arange(len(ids), device=ids.device)[:, None]
    return ids[rows, order], mask[rows, order]
