"""The prefix of a model: everything that runs until the last hook point has been seen, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from hf_stitch.errors import HookError
from hf_stitch.hooks.capture import capture
from hf_stitch.hooks.placeholders import Absent
from hf_stitch.hooks.points import HookPoint, canonical, resolve, uncompiled
from hf_stitch.hooks.probe_inputs import describe_inputs, make_inputs_for, masked, switched_off
from hf_stitch.hooks.pruning import (
    PLAN_VERSION,
    check_plan,
    holds_tensors,
    largest_working,
    members,
    own_parameters,
    owners,
    removed,
    same,
    take_out,
)
from hf_stitch.hooks.trace import COMBOS, MakeInputs, ModelTrace, copied, quiet, unmoved


def plan_prefix(model: nn.Module, points: Sequence[HookPoint], make_inputs: MakeInputs | None = None) -> dict[str, Any]:
    """Find what a model does not need when only `points` are read from it.

    Whatever is left out was verified: the captures of several batches, padded ones too, stay bit for bit the same.

    Args:
        make_inputs: (batch, length) -> keyword arguments; `make_inputs_for(model)` by default.

    Returns:
        JSON data for `apply_prefix_plan`: the largest module subtrees and the single parameters to leave out.

    Raises:
        HookError: no points, or a point that is not called exactly once.
    """
    if not points:
        raise HookError("a prefix needs at least one hook point; got none")
    whole, model = uncompiled(model), copied(model)
    trace = ModelTrace(model, make_inputs or make_inputs_for(model))
    # What a fresh model does at its first run (BigBird tells all its layers) has to work in the prefix, too.
    steady = unmoved(whole, model)
    for point in points:
        trace.point(point.module, point.output)
    log = trace.traces[0]
    names = [canonical(model, point.name) for point in points]
    # By order of calls, not of registration: modules are often registered in another order than they run in.
    end = max(log.left[name][point.call] for name, point in zip(names, points))
    reached = {name for name, times in log.entered.items() if times[0] < end}
    with quiet(model):
        cases = _cases(model, points, trace)

        def works(absent: list[str], dropped: list[str]) -> bool:
            vacant = {name: Absent(name, trace.modules[name]) for name in absent}
            trial = model if steady else copied(whole).eval()
            with removed(trial, vacant, dropped):
                try:
                    found = [capture(trial, points, inputs) for inputs, _ in cases]
                except Exception:  # whatever a trial raises, the part it took out is needed
                    return False
            return all(same(a, b) for f, (_, e) in zip(found, cases) for a, b in zip(f, e))

        absent = largest_working(
            _unreached(trace, reached), lambda trial: works(trial, []), lambda name: members(trace.modules, name)
        )
        # What a module holds itself has no call of its own that could be missed (Wav2Vec2's masked_spec_embed): tried.
        candidates = own_parameters(model, owners([*names, *absent]))
        dropped = largest_working(candidates, lambda trial: works(absent, trial))
    return {
        "kind": "prefix",
        "version": PLAN_VERSION,
        "transformers": transformers.__version__,
        "points": [point.to_dict() for point in points],
        "absent": absent,
        "dropped": dropped,
    }


def apply_prefix_plan(model: nn.Module, plan: Mapping[str, Any]) -> nn.Module:
    """Leave out, in place, what `plan_prefix` found needless; works on the meta device. Returns the model.

    Raises:
        HookError: no prefix plan, or one of another model.
    """
    check_plan(plan, "prefix")
    take_out(model, {name: Absent(name, resolve(model, name)) for name in plan["absent"]}, plan["dropped"])
    return model


def weaker_prefix_plans(plan: Mapping[str, Any], model: nn.Module) -> list[dict[str, Any]]:
    """What to try where a prefix does not run by its plan, the leanest first.

    Without a cache, which asks all layers what they keep, those that are left out too; and with nothing left out.
    """
    constants = switched_off(uncompiled(model))
    return [{**plan, "constants": constants}, {**plan, "constants": constants, "absent": [], "dropped": []}]


def _unreached(trace: ModelTrace, reached: set[str]) -> list[str]:
    """The largest subtrees with tensors none of whose modules is ever entered before the end."""
    busy = reached | owners(reached)
    idle = {name for name in trace.modules if name and name not in busy}
    # What holds the weights that two others share is how transformers knows that they do when it saves them (T5's
    # `shared` embedding, where encoder and decoder both stay); leaving it out would save nothing.
    held = [id(p) for name in busy if name in trace.modules for p in trace.modules[name].parameters(recurse=False)]
    twice = {number for number in held if held.count(number) > 1}
    idle -= {name for name in idle if {id(p) for p in trace.modules[name].parameters()} & twice}
    return [n for n in trace.modules if n in idle and not owners([n]) & idle and holds_tensors(trace.modules[n])]


def _cases(
    model: nn.Module, points: Sequence[HookPoint], trace: ModelTrace
) -> list[tuple[dict[str, Any], list[Tensor]]]:
    """Probe inputs with the captures they give."""
    described = describe_inputs(model, trace.inputs)
    found = list(trace.inputs)
    # A padded batch too: what only masks need would be found needless on full ones.
    if described["mask"] is not None:
        batch, length = COMBOS[1]
        device = next(v.device for v in found[1].values() if isinstance(v, Tensor))
        mask = torch.arange(length, device=device) < length - 2 * torch.arange(batch, device=device)[:, None]
        found.append(masked(found[1], described, batch, length, mask, device))
    return [(inputs, [value.clone() for value in capture(model, points, inputs)]) for inputs in found]
