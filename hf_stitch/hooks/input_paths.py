"""Which of a model's inputs a hook point belongs to; all others are given by whoever runs the suffix.

A point in an encoder needs nothing of the decoder's input, a point in one tower of CLIP nothing of the other's: those
inputs are real when the suffix runs. A point inside a cross-attending decoder stands behind the encoder, whose states
are then given as `encoder_outputs`, as transformers' own models take them, and the encoder itself is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput
from transformers.utils import ModelOutput

from hf_stitch.errors import HookError
from hf_stitch.hooks import symbolic_shapes
from hf_stitch.hooks.arguments import arguments_of
from hf_stitch.hooks.capture import capture
from hf_stitch.hooks.points import HookPoint
from hf_stitch.hooks.trace import COMBOS, RUNS, MakeInputs, quiet, run_probe

STATES, MASK = "encoder_outputs", "attention_mask"
DECODER = "decoder_"


@dataclass(frozen=True)
class Stream:
    """How a model is fed to reach a hook point.

    Attributes:
        make: (batch, length) -> keyword arguments; `length` is that of the stream which the point belongs to.
        given: inputs that the point does not determine and that are real when the suffix runs.
        mask: name of the stream's own attention mask.
        states: dotted name of the class of the encoder's states where the stream begins behind the encoder, else None.
    """

    make: MakeInputs
    given: tuple[str, ...] = ()
    mask: str = MASK
    states: str | None = None


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
            return _behind_encoder(model, make, [key for key in probe if not key.startswith(DECODER)])
    # What is the same for all samples, as a recipe's fixed inputs are, is known when the suffix runs.
    real = [key for key, value in probe.items() if not torch.equal(value, value.flip(0))]
    return [Stream(make, tuple(key for key in real if key not in reach and key != MASK))]


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


def _behind_encoder(model: nn.Module, make: MakeInputs, main: list[str]) -> list[Stream]:
    """The streams in which the encoder has already run, that answer as the model does on its full input.

    Raises:
        HookError: there are none.
    """
    takes_mask = MASK in arguments_of(model)
    found: list[Stream] = []
    refusals: list[HookError] = []
    # Models look into the input even when the states are given: classifiers for the end token (BART), others for
    # whether there is one, without which they drop the causal mask (FSMT).
    for drop in (True, False):
        full = _full(make, main, takes_mask, drop)
        reduced = _reduced(model, full, make, main, drop)
        try:
            for combo in RUNS:
                _check_same(model, full(*combo), reduced(*combo, aligned=True))
        except HookError as error:
            refusals.append(error)
            continue
        kind = type(reduced(*COMBOS[0])[STATES])
        given = (STATES, MASK) if takes_mask else (STATES,)
        own = None if kind is BaseModelOutput else f"{kind.__module__}.{kind.__qualname__}"
        found.append(Stream(reduced, given, f"{DECODER}{MASK}", own))
    if not found:
        raise refusals[-1]
    return found


def _full(make: MakeInputs, main: list[str], takes_mask: bool, other: bool) -> MakeInputs:
    """Whole inputs, a padded batch where the model takes a mask; the encoder's own of `other` length on demand."""

    def made(batch: int, length: int) -> dict[str, Any]:
        inputs = dict(make(batch, length))
        if other:
            # no formula of the decoder's length, so that nothing as long as the encoder's states is taken to have one
            longer = make(batch, 5 + length * length % 11)
            inputs |= {key: longer[key] for key in main}
        raw = inputs[main[0]]
        if takes_mask and raw.ndim == 2:
            mask = torch.ones(raw.shape, dtype=torch.long, device=raw.device)
            mask[-1, raw.shape[1] * 3 // 5 :] = 0  # by hand: a mask that is all ones is dropped by some models
            inputs[MASK] = mask
        return inputs

    return made


def _reduced(model: nn.Module, full: MakeInputs, make: MakeInputs, main: list[str], drop: bool) -> Any:
    """Inputs in which the encoder has already run, without its own or, so that the model may look there, with it."""

    def made(batch: int, length: int, aligned: bool = False) -> dict[str, Any]:
        # not aligned: states of another length than the input that is only looked at
        states_of = full if drop or aligned else _full(make, main, MASK in full(batch, length), True)
        inputs = states_of(batch, length)
        masks = {MASK: inputs[MASK]} if MASK in inputs else {}
        with quiet(model):
            states = encoder_states(model, inputs[main[0]], masks)
        own = {} if drop else {key: full(batch, length)[key] for key in main}
        return {key: value for key, value in inputs.items() if key not in main} | own | {STATES: states}

    return made


def encoder_states(model: nn.Module, raw: Tensor, masks: Mapping[str, Any]) -> Any:
    """What a model's encoder gives, in its own class of outputs: models read more of it than the states (Switch)."""
    found = model.get_encoder()(raw, **masks)  # type: ignore[operator]
    return found if isinstance(found, ModelOutput) else BaseModelOutput(last_hidden_state=found[0])


def _check_same(model: nn.Module, full: Mapping[str, Any], reduced: Mapping[str, Any]) -> None:
    """HookError where a model answers otherwise on reduced inputs than on the full ones."""
    with quiet(model):
        one, two = (main_output(run_probe(model, inputs)) for inputs in (full, reduced))
    if one.shape != two.shape or not torch.allclose(one, two, rtol=1e-4, atol=1e-5, equal_nan=True):
        off = f"by {float((one - two).abs().max()):.2g}" if one.shape == two.shape else "in another shape"
        raise HookError(
            f"{type(model).__name__} answers otherwise on its encoder's states as `encoder_outputs` than on its full "
            f"input ({off}); hook its encoder instead"
        )


def main_output(output: Any) -> Tensor:
    """The tensor for which a model is run: logits, a vector or states, else the first."""
    if isinstance(output, Mapping):
        known = ("logits", "embeddings", "last_hidden_state")
        output = next((output[key] for key in known if key in output), next(iter(output.values())))
    return output if isinstance(output, Tensor) else output[0]


def as_own_states(given: Any, kind: str | None) -> Any:
    """States of an encoder, given as a tensor or in any class of outputs, in the class that the model reads."""
    if given is None or kind is None:
        return given
    own = symbolic_shapes.transformers_class(kind)
    if isinstance(given, own):
        return given
    content = (
        dict(given)
        if isinstance(given, Mapping)
        else {"last_hidden_state": given if isinstance(given, Tensor) else given[0]}
    )
    return own(**content)
