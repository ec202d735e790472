"""Run the suffix of a model: start from given activations at a hook point, without what lies before.

The model runs on dummy inputs of the right size, so that its masks and positions come out right. What is complete
before the hook point is replaced by stubs without parameters, and the hook module by one that gives the activation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import transformers
from torch import Tensor, nn

from hf_stitch.errors import HookError
from hf_stitch.hooks import structure
from hf_stitch.hooks.capture import replaced
from hf_stitch.hooks.inputs import describe_inputs, dummy_inputs, make_inputs_for
from hf_stitch.hooks.points import HookPoint, canonical, resolve, uncompiled
from hf_stitch.hooks.prune import PLAN_VERSION, check_plan, take_out
from hf_stitch.hooks.survey import COMBOS, Survey
from hf_stitch.hooks.vacant import Absent, Injection, InjectionHook, Stub, Vacant, injecting


def apply_suffix_plan(model: nn.Module, plan: Mapping[str, Any]) -> nn.Module:
    """Cut the model, in place, to the suffix that `plan_suffix` found; works on the meta device. Returns the model.

    Raises:
        HookError: no suffix plan, or one of another model.
    """
    check_plan(plan, "suffix")
    vacant = vacancies(model, plan)
    take_out(model, vacant, plan["dropped"])
    point = HookPoint.from_dict(plan["point"])
    if point.module not in vacant and plan["inject"] != "kept":
        resolve(model, point.module).register_forward_hook(InjectionHook(point))
    return model


def run_suffix(
    model: nn.Module, plan: Mapping[str, Any] | HookPoint, values: Tensor, mask: Tensor | None = None, **kwargs: Any
) -> Any:
    """The model's output when it has `values` at its hook point. Differentiable in `values`.

    Args:
        model: cut by `apply_suffix_plan`, or whole.
        plan: of `plan_suffix`; a bare hook point is surveyed anew on each call (slow, whole models only).
        values: (b, t, m) activations with all m features of the layer; cast to the model's dtype.
        mask: (b, t) bool, True where a position is real.
        kwargs: further arguments of the model, for example labels.

    Raises:
        HookError: sizes that do not fit the hook point, or a mask that the model cannot take.
    """
    if isinstance(plan, HookPoint):
        plan = whole_plan(model, plan)
    with starting(model, plan, values, mask) as inputs:
        return model(**{**inputs, **kwargs})


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
        length, mask = COMBOS[0][1], None
    inputs = dummy_inputs(model, plan, batch, length, mask, values.device)
    module = resolve(uncompiled(model), point.module)
    cut = isinstance(module, Injection) or any(isinstance(h, InjectionHook) for h in module._forward_hooks.values())
    with nullcontext() if cut else replaced(model, point, values), injecting(batch, length, values):
        yield inputs


def input_length(plan: Mapping[str, Any], positions: int) -> int | None:
    """The input length (tokens, frames) at which the hook point has this many positions; None when any length will do.

    Raises:
        HookError: the hook point never has this many positions.
    """
    point = HookPoint.from_dict(plan["point"])
    dims = structure.part(plan["hook_output"], point.output)[1]["tensor"]
    axes = {"batch_first": dims[1:-1], "time_first": dims[:1], "channels_first": dims[2:], "flat": []}[point.layout]
    growing = [dim for dim in axes if not isinstance(dim, int)]
    if not growing:
        expected = 1
        for dim in axes:
            expected *= dim
        if positions != expected:
            raise HookError(
                f"{point.module} always has {expected} positions; got {positions}: use a length rule that gives it"
            )
        return None
    _, slope, offset = growing[0]
    length, rest = divmod(positions - offset, slope)
    if len(growing) > 1 or rest or length < 1:
        raise HookError(
            f"{point.module} has {structure.symbol(growing[0])} positions for t inputs; {positions} is none of them"
        )
    return length


def vacancies(model: nn.Module, plan: Mapping[str, Any]) -> dict[str, Vacant]:
    """The modules that stand where a plan takes others out."""
    vacant: dict[str, Vacant] = {n: Stub(n, resolve(model, n), spec) for n, spec in plan["stubs"].items()}
    vacant |= {n: Absent(n, resolve(model, n)) for n in plan["absent"]}
    if plan["inject"] == "stub":
        point = HookPoint.from_dict(plan["point"])
        vacant[point.module] = Injection(point.module, resolve(model, point.module), plan["hook_output"], point)
    return vacant


def whole_plan(model: nn.Module, point: HookPoint, survey: Survey | None = None) -> dict[str, Any]:
    """The plan that takes nothing out of a model."""
    model = uncompiled(model)
    survey = survey or Survey(model, make_inputs_for(model))
    return {
        "kind": "suffix",
        "version": PLAN_VERSION,
        "transformers": transformers.__version__,
        "point": point.to_dict(),
        "inputs": describe_inputs(model, survey.inputs),
        "hook_output": survey.output(canonical(model, point.module)),
        "inject": "hook",
        "stubs": {},
        "absent": [],
        "dropped": [],
    }
