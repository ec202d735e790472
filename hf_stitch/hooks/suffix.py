"""Run the suffix of a model: start from given activations at a hook point, without what lies before.

The model runs on dummy inputs of the right size, so that its masks and positions come out right. What is complete
before the hook point is replaced by stubs without parameters, and the hook module by one that gives the activation.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from math import isqrt
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from hf_stitch.errors import HookError
from hf_stitch.hooks import symbolic_shapes
from hf_stitch.hooks.capture import replaced
from hf_stitch.hooks.input_paths import STATES, Stream, as_own_states, streams
from hf_stitch.hooks.placeholders import (
    Absent,
    Gate,
    Injection,
    InjectionHook,
    Placeholder,
    Stub,
    gate,
    injecting,
    put_hooks,
)
from hf_stitch.hooks.points import HookPoint, canonical, resolve, uncompiled
from hf_stitch.hooks.probe_inputs import describe_inputs, dummy_inputs, make_inputs_for
from hf_stitch.hooks.pruning import PLAN_VERSION, check_plan, take_out
from hf_stitch.hooks.trace import COMBOS, ModelTrace, copied


def apply_suffix_plan(model: nn.Module, plan: Mapping[str, Any]) -> nn.Module:
    """Cut the model, in place, to the suffix that `plan_suffix` found; works on the meta device. Returns the model.

    Raises:
        HookError: no suffix plan, or one of another model.
    """
    check_plan(plan, "suffix")
    vacant = vacancies(model, plan)
    take_out(model, vacant, plan["dropped"])
    point = HookPoint.from_dict(plan["point"])
    if plan["inject"] == "gate":
        gate(resolve(model, point.name), point, plan["gated"])
    elif point.name not in vacant and plan["inject"] != "kept":
        put_hooks(resolve(model, point.name), point)
    return model


def run_suffix(
    model: nn.Module, plan: Mapping[str, Any] | HookPoint, values: Tensor, mask: Tensor | None = None, **kwargs: Any
) -> Any:
    """The model's output when it has `values` at its hook point. Differentiable in `values`.

    Args:
        model: cut by `apply_suffix_plan`, or whole.
        plan: of `plan_suffix`; a bare hook point is traced anew on each call (slow, whole models only).
        values: (b, t, m) activations with all m features of the layer; cast to the model's dtype.
        mask: (b, t) bool, True where a position is real.
        kwargs: further arguments of the model, for example labels. The plan's `given` names those that must come:
            decoder_input_ids (or labels, where the model makes them from labels) for a point in an encoder;
            encoder_outputs and the encoder's attention_mask for a point in a decoder; the other tower's input for CLIP.

    Returns:
        The model's own output, without those tensors that the activation does not determine.

    Raises:
        HookError: sizes that do not fit the hook point, a mask that the model cannot take, an argument that is missing,
            or a model that never reached the hook point.
    """
    if isinstance(plan, HookPoint):
        plan = whole_plan(model, plan)
    check_plan(plan, "suffix")
    check_given(model, plan, kwargs)
    if plan.get("states"):
        kwargs[STATES] = as_own_states(kwargs[STATES], plan["states"])
    with starting(model, plan, values, mask) as inputs:
        return without(model(**{**inputs, **kwargs}), plan.get("undetermined", ()))


@contextmanager
def starting(
    model: nn.Module, plan: Mapping[str, Any], values: Tensor, mask: Tensor | None = None
) -> Iterator[dict[str, Any]]:
    """Inside, the model has `values` at its hook point when it runs on the inputs that are given; see `run_suffix`."""
    check_plan(plan, "suffix")
    point = HookPoint.from_dict(plan["point"])
    if values.ndim != 3 or values.shape[-1] != point.width:
        raise HookError(f"{point.module} takes activations (b, t, {point.width}); got {tuple(values.shape)}")
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), values.dtype)
    values = values.to(dtype)
    batch, length = len(values), input_length(plan, values.shape[1])
    if length is None:
        if values.shape[1] > 1 and mask is not None and not bool(mask.all()):
            raise HookError(f"{point.module} has a fixed number of positions and takes no mask; all must be real")
        length, mask = COMBOS[0][1], None  # any will do; this one was traced
    elif mask is not None and length != values.shape[1]:
        mask = input_mask(plan, mask, length)
    inputs = dummy_inputs(model, plan, batch, length, mask, values.device)
    module = resolve(uncompiled(model), point.name)
    # A cut model has its hooks since before it was compiled, and only the activation is new; a whole one gets a hook
    # for this run, which compiled code would not see.
    hooked = any(isinstance(hook, InjectionHook) for hook in module._forward_hooks.values())
    if hooked or isinstance(module, Gate | Injection):
        with injecting(batch, length, values, point):
            yield inputs
    else:
        with replaced(model, point, values), injecting(batch, length, values):
            yield inputs


def check_given(model: nn.Module, plan: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Refuse to run on dummies where a real input is needed.

    Raises:
        HookError: an argument that the activations do not determine is missing.
    """
    for key in plan.get("given", ()):
        instead = ["decoder_inputs_embeds", "labels"] if key == "decoder_input_ids" else []
        if not getattr(model, "can_generate", lambda: False)():
            instead = instead[:1]  # only models that generate make the decoder's input from labels
        if key != "attention_mask" and all(given.get(k) is None for k in (key, *instead)):
            place = HookPoint.from_dict(plan["point"]).module
            also = f" (or {' or '.join(instead)})" if instead else ""
            raise HookError(f"a model started at {place} also needs {key}{also}; give it with the activations")


def input_mask(plan: Mapping[str, Any], mask: Tensor, length: int) -> Tensor:
    """The mask (b, length) of inputs whose activations have the mask (b, t); padding on the right only.

    Raises:
        HookError: padding elsewhere.
    """
    counts = mask.sum(1)
    if not torch.equal(mask.bool(), torch.arange(mask.shape[1], device=mask.device) < counts[:, None]):
        raise HookError("this hook point has another length than the input and takes padding on the right only")
    real = torch.tensor([input_length(plan, int(count)) if count else 0 for count in counts], device=mask.device)
    return torch.arange(length, device=mask.device) < real[:, None]


def without(output: Any, keys: Collection[str]) -> Any:
    """A model's output without some of its fields."""
    if not keys or not isinstance(output, Mapping):
        return output
    return output_like(output, {key: value for key, value in output.items() if key not in keys})


def output_like(output: Any, fields: Mapping[str, Any]) -> Any:
    """An output of the same class that holds these fields, which may be more than the class has names for."""
    found = type(output)()
    for key, value in fields.items():
        found[key] = value
    return found


def input_length(plan: Mapping[str, Any], positions: int) -> int | None:
    """The input length (tokens, frames) at which the hook point has this many positions; None when any length will do.

    Raises:
        HookError: the hook point never has this many positions.
    """
    point = HookPoint.from_dict(plan["point"])
    dims = _axes(plan)
    longer = growing(plan)
    if not longer:
        expected = 1
        for dim in dims:
            expected *= symbolic_shapes.size(dim, 1, 1)
        if positions != expected:
            raise HookError(
                f"{point.module} always has {expected} positions; got {positions}: use a length rule that gives it"
            )
        return None
    square = len(longer) == 2 and longer[0] == longer[1]  # a picture, whose sides grow together
    side = isqrt(positions) if square else positions
    length = symbolic_shapes.length_of(longer[0], side)
    if (len(longer) > 1 and not square) or (square and side**2 != positions) or length is None:
        shown = " x ".join(symbolic_shapes.symbol(dim) for dim in longer)
        raise HookError(f"{point.module} has {shown} positions for t inputs; {positions} is none of them")
    return length


def _axes(plan: Mapping[str, Any]) -> list[symbolic_shapes.Dim]:
    point = HookPoint.from_dict(plan["point"])
    dims = symbolic_shapes.part(plan["hook_output"], point.output)[1]["tensor"]
    return {"batch_first": dims[1:-1], "time_first": dims[:1], "channels_first": dims[2:], "flat": []}[point.layout]


def growing(plan: Mapping[str, Any]) -> list[symbolic_shapes.Dim]:
    """The position axes of the hook point that grow with the input's length."""
    return [dim for dim in _axes(plan) if not isinstance(dim, int)]


def vacancies(model: nn.Module, plan: Mapping[str, Any]) -> dict[str, Placeholder]:
    """The modules that stand where a plan takes others out."""
    vacant: dict[str, Placeholder] = {n: Stub(n, resolve(model, n), spec) for n, spec in plan["stubs"].items()}
    vacant |= {n: Absent(n, resolve(model, n)) for n in plan["absent"]}
    if plan["inject"] == "stub":
        point = HookPoint.from_dict(plan["point"])
        vacant[point.name] = Injection(point.name, resolve(model, point.name), plan["hook_output"], point)
    return vacant


def weaker_suffix_plans(plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What to try where a suffix does not run by its plan: with nothing left out, the activation put in by a hook."""
    inject = "kept" if plan["inject"] == "kept" else "hook"
    return [{**plan, "inject": inject, "stubs": {}, "absent": [], "dropped": []}]


def whole_plan(
    model: nn.Module, point: HookPoint, trace: ModelTrace | None = None, stream: Stream | None = None
) -> dict[str, Any]:
    """The plan that takes nothing out of a model."""
    model = uncompiled(model) if trace else copied(model)
    stream = stream or streams(model, point, make_inputs_for(model))[0]
    trace = trace or ModelTrace(model, stream.make)
    name = canonical(model, point.name)
    return {
        "kind": "suffix",
        "version": PLAN_VERSION,
        "transformers": transformers.__version__,
        "point": point.to_dict(),
        "inputs": describe_inputs(model, trace.inputs, stream.given, stream.mask),
        "given": list(stream.given),
        "undetermined": [],
        "hook_output": trace.output(canonical(model, point.module)),
        "gated": [trace.output(f"{name}#{number}") for number in range(point.call + 1)],
        "inject": "hook",
        "stubs": {},
        "absent": [],
        "dropped": [],
        # a tensor alone is given in this class
        **({"states": stream.states} if stream.states else {}),
    }
