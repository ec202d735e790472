"""Which of a model's inputs a hook point belongs to; all others are given by whoever runs the suffix.

A point in an encoder needs nothing of the decoder's input, a point in one tower of CLIP nothing of the other's: those
inputs are real when the suffix runs. A point inside a cross-attending decoder stands behind the encoder, whose states
are then given as `encoder_outputs`, as transformers' own models take them, and the encoder itself is left out.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput

from hf_stitch.hooks.capture import capture
from hf_stitch.hooks.points import HookPoint
from hf_stitch.hooks.trace import COMBOS, MakeInputs, quiet

STATES, MASK = "encoder_outputs", "attention_mask"
DECODER = "decoder_"


@dataclass(frozen=True)
class Stream:
    """How a model is fed to reach a hook point.

    Attributes:
        make: (batch, length) -> keyword arguments; `length` is that of the stream which the point belongs to.
        given: inputs that the point does not determine and that are real when the suffix runs.
        mask: name of the stream's own attention mask.
    """

    make: MakeInputs
    given: tuple[str, ...] = ()
    mask: str = MASK


def streams(model: nn.Module, point: HookPoint, make: MakeInputs) -> list[Stream]:
    """The ways to feed a model up to a hook point, the leanest first.

    Raises:
        HookError: the point cannot be captured on these inputs.
    """
    probe = {k: v for k, v in make(*COMBOS[0]).items() if isinstance(v, Tensor)}
    if len(probe) < 2:
        return [Stream(make)]
    with quiet(model):
        reach = _reach(model, point, make)
        if any(key.startswith(DECODER) for key in reach) and hasattr(model, "get_encoder"):
            main = [key for key in probe if not key.startswith(DECODER)]
            given = (STATES, MASK) if MASK in probe or MASK in _arguments(model) else (STATES,)
            # classifiers look for the end token in `input_ids` even when the states are given (BART)
            return [
                Stream(_after_encoder(model, make, main, drop), given, f"{DECODER}{MASK}") for drop in (True, False)
            ]
    # What is the same for all samples, as a recipe's fixed inputs are, is known when the suffix runs.
    real = [key for key, value in probe.items() if not torch.equal(value, value.flip(0))]
    return [Stream(make, tuple(key for key in real if key not in reach and key != MASK))]


def _arguments(model: nn.Module) -> Mapping[str, Any]:
    return inspect.signature(model.forward).parameters


def _reach(model: nn.Module, point: HookPoint, make: MakeInputs) -> set[str]:
    """The tensor inputs on which the activation depends: another sample's input there changes it."""
    inputs = dict(make(*COMBOS[0]))
    plain = capture(model, [point], inputs)[0]
    found = set()
    for key, value in inputs.items():
        if isinstance(value, Tensor):
            # rows exchanged, no noise: every value stays one that the model may be given
            other = capture(model, [point], inputs | {key: value.flip(0)})[0]
            if not torch.equal(plain, other):
                found.add(key)
    return found


def _after_encoder(model: nn.Module, make: MakeInputs, main: list[str], drop: bool) -> MakeInputs:
    """Inputs in which the encoder has already run, on a padded batch where it takes a mask."""

    def made(batch: int, length: int) -> dict[str, Any]:
        inputs = dict(make(batch, length))
        # no formula of the decoder's length, so that nothing as long as the encoder's states is taken to have one
        raw = make(batch, 5 + length * length % 11)[main[0]]
        extra: dict[str, Any] = {}
        if MASK in _arguments(model) and raw.ndim == 2:
            extra[MASK] = torch.ones(raw.shape, dtype=torch.long, device=raw.device)
            extra[MASK][-1, raw.shape[1] * 3 // 5 :] = 0  # by hand: a mask that is all ones is dropped by some models
        with quiet(model):
            states = model.get_encoder()(raw, **extra)[0]  # type: ignore[operator]
        kept = {key: value for key, value in inputs.items() if not (drop and key in main)}
        return kept | extra | {STATES: BaseModelOutput(last_hidden_state=states)}

    return made
