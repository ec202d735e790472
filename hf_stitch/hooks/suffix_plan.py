"""Find how to start a model in the middle.

No model family is known by name: whatever is taken out was verified, the result stays bit for bit that of the whole
model with the activation replaced, for several batches, padded ones too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from hf_stitch.errors import HookError
from hf_stitch.hooks import symbolic_shapes
from hf_stitch.hooks.capture import capture, replaced
from hf_stitch.hooks.input_paths import STATES, Stream, streams
from hf_stitch.hooks.placeholders import gate, ungate
from hf_stitch.hooks.points import HookPoint, resolve, uncompiled
from hf_stitch.hooks.position_lengths import refuse_windows
from hf_stitch.hooks.probe_inputs import dummy_inputs, make_inputs_for, masked
from hf_stitch.hooks.pruning import (
    holds_tensors,
    largest_working,
    members,
    own_parameters,
    owners,
    removed,
    same,
    values_for,
)
from hf_stitch.hooks.suffix import growing, input_length, input_mask, run_suffix, vacancies, whole_plan
from hf_stitch.hooks.trace import COMBOS, UNSEEN, MakeInputs, ModelTrace, copied, quiet, run_probe, unmoved


@dataclass
class _Case:
    """One verification: activations, mask, further inputs, and the whole model's outputs for them."""

    values: Tensor
    mask: Tensor | None
    extras: dict[str, Any]
    expected: dict[str, Tensor]


def plan_suffix(model: nn.Module, point: HookPoint, make_inputs: MakeInputs | None = None) -> dict[str, Any]:
    """Find how to start a model at a hook point, and what it no longer needs then.

    Args:
        make_inputs: (batch, length) -> keyword arguments; `make_inputs_for(model)` by default.

    Returns:
        JSON data for `apply_suffix_plan` and `run_suffix`: hook point, description of the dummy inputs, stubs with
        their outputs, the way of injection, parameters to leave out.

    Raises:
        HookError: the point is not usable; the outputs do not depend on it; or they depend on the input by another way
            too, so that the activations alone do not determine them.
    """
    whole, model = uncompiled(model), copied(model)
    make = make_inputs or make_inputs_for(model)
    whole_trace = ModelTrace(model, make)
    point = replace(whole_trace.point(point.module, point.output), features=point.features)
    refuse_windows(whole_trace, point)
    # What a fresh model does at its first run (BigBird tells all its layers) has to work in the suffix, too.
    fresh = (lambda: model) if unmoved(whole, model) else (lambda: copied(whole).eval())
    refusals: list[HookError] = []
    for stream in streams(model, point, make):
        try:
            with quiet(model):
                return _plan(model, point, stream, fresh)
        except HookError as error:
            refusals.append(error)
    if len(refusals) == 1:
        raise refusals[0]
    raise HookError(
        f"{refusals[-1]} (Tried with the encoder's states given as `encoder_outputs`, without and with the encoder's "
        f"own input; the first try ended with: {refusals[0]})"
    )


def _plan(model: nn.Module, point: HookPoint, stream: Stream, fresh: Callable[[], nn.Module]) -> dict[str, Any]:
    trace = ModelTrace(model, stream.make)
    plan = whole_plan(model, point, trace, stream)
    cases = _cases(model, plan, replace(point, features=None), trace)

    def works(**change: Any) -> bool:
        return _same_with(fresh(), plan | change, cases)

    lean = "stub" if point.module == point.name or trace.calls(point.name) == 1 else "gate"
    everything: dict[str, Any] = {"inject": lean}
    everything["stubs"] = _specs(trace, _largest(_done_before(trace, point, inside=False)))
    everything["absent"] = _never_run(model, plan | everything, trace)
    everything["dropped"] = own_parameters(model, owners([point.name, *everything["stubs"]]))
    # All at once first, since a trial is a forward pass over every case. Where that fails the parts are tried one after
    # the other: what may be dropped depends on what is a stub.
    if works(**everything):
        return plan | everything
    plan["inject"] = lean if works(inject=lean) else "hook"
    # A hook module that has to stay (T5's first block makes the bias of all others) may still hold parts that need not.
    done = _done_before(trace, point, inside=plan["inject"] == "hook")
    stubs = largest_working(
        _largest(done),
        lambda names: works(stubs=_specs(trace, names)),
        lambda top: _largest([other for other in done if other.startswith(f"{top}.")]),
    )
    plan["stubs"] = _specs(trace, stubs)
    idle = _never_run(model, plan, trace)
    plan["absent"] = largest_working(idle, lambda names: works(absent=names), lambda name: members(trace.modules, name))
    candidates = own_parameters(model, owners([point.name, *stubs]))
    plan["dropped"] = largest_working(candidates, lambda names: works(dropped=names))
    return plan


def _specs(trace: ModelTrace, names: Iterable[str]) -> dict[str, Any]:
    return {name: trace.output(name) for name in names}


def _same_with(model: nn.Module, plan: Mapping[str, Any], cases: list[_Case]) -> bool:
    """Whether all outputs stay the same when a plan is carried out."""
    point = HookPoint.from_dict(plan["point"])
    with removed(model, vacancies(model, plan), plan["dropped"]), _gated(model, point, plan):
        try:
            for case in cases:
                found = _tensors(run_suffix(model, plan, case.values, case.mask, **case.extras))
                if not all(key in found and same(found[key], value) for key, value in case.expected.items()):
                    return False
        except Exception:  # whatever a trial raises, the part it took out is needed
            return False
    return True


@contextmanager
def _gated(model: nn.Module, point: HookPoint, plan: Mapping[str, Any]) -> Iterator[None]:
    """The model with a gate before the hook module, where the plan says so."""
    if plan["inject"] != "gate":
        yield
        return
    module = resolve(model, point.name)
    gate(module, point, plan["gated"])
    try:
        yield
    finally:
        ungate(module)


def _done_before(trace: ModelTrace, point: HookPoint, inside: bool) -> list[str]:
    """Modules with tensors and a known output, all of whose calls end before that of the hook point."""
    found = []
    hook = point.name
    for name, module in trace.modules.items():
        times = [(log.left.get(name), log.left[hook][point.call]) for log in trace.traces]
        if name == hook or (name.startswith(f"{hook}.") and not inside) or not holds_tensors(module):
            continue
        if all(left and max(left) < end for left, end in times) and symbolic_shapes.known(trace.output(name)):
            found.append(name)
    return found


def _largest(names: list[str]) -> list[str]:
    """Those names that lie inside none of the others."""
    known = set(names)
    return [name for name in names if not owners([name]) & known]


def _never_run(model: nn.Module, plan: Mapping[str, Any], trace: ModelTrace) -> list[str]:
    """An encoder whose states are given, and modules that only hold what they shared with modules taken out."""
    ties = _ties(model, plan, trace)
    if STATES not in plan["given"]:
        return ties
    encoder = model.get_encoder()  # type: ignore[operator]
    name = next(name for name, module in model.named_modules() if module is encoder)
    busy = owners(trace.traces[0].entered) | set(trace.traces[0].entered)
    return [*ties, *([] if name in busy else [name])]


def _ties(model: nn.Module, plan: Mapping[str, Any], trace: ModelTrace) -> list[str]:
    """Modules that never run and only hold what they shared with modules taken out (T5's `shared` embedding)."""

    def under(key: str, names: Iterable[str]) -> bool:
        return any(key.startswith(f"{name}.") for name in names)

    gone = set(vacancies(model, plan))
    stay = [(k, id(p)) for k, p in model.named_parameters(remove_duplicate=False) if not under(k, gone)]
    lost = {id(p) for name in gone for p in trace.modules[name].parameters()}
    busy = owners(trace.traces[0].entered) | set(trace.traces[0].entered)
    found = []
    for name in [name for name in trace.modules if name not in busy and not owners([name]) & gone]:
        held = {number for key, number in stay if under(key, [name])}
        if held and held <= lost and not held & {number for key, number in stay if not under(key, [name])}:
            found.append(name)
    return found


def _cases(model: nn.Module, plan: dict[str, Any], point: HookPoint, trace: ModelTrace) -> list[_Case]:
    """The verifications, with those outputs that the activations determine; the others are named in the plan.

    Raises:
        HookError: they do not determine the main output, or change no output; the model cannot run on padded inputs.
    """
    cases: list[_Case] = []
    kept, moved, seen = set[str](), set[str](), set[str]()
    main, raised = "?", None
    for combo, mask in _masks(plan, trace):
        case, real = _case(model, plan, point, trace, combo, mask)
        try:
            found = _tensors(run_suffix(model, plan, case.values, case.mask, **case.extras))
        except Exception as error:  # a branch that looks for something in the input itself
            found, raised = {}, raised or error
        equal = {k for k, v in case.expected.items() if k in found and same(found[k], v)}
        kept = kept & equal if cases else equal
        seen |= set(case.expected)
        if not cases:
            plain = _tensors(run_probe(model, real))
            moved = {k for k, v in case.expected.items() if not same(plain[k], v)}
            main = next(
                (k for k in ("logits", "embeddings", "last_hidden_state") if k in plain), next(iter(plain), "?")
            )
        cases.append(case)
    _check_determined(point, main, kept, moved, trace, raised)
    plan["undetermined"] = sorted({key.partition(".")[0] for key in seen - kept} - {main})
    for case in cases:
        case.expected = {k: v for k, v in case.expected.items() if k.partition(".")[0] not in plan["undetermined"]}
    return cases


def _case(
    model: nn.Module,
    plan: dict[str, Any],
    point: HookPoint,
    trace: ModelTrace,
    combo: symbolic_shapes.Combo,
    mask: Tensor | None,
) -> tuple[_Case, dict[str, Any]]:
    """Activations like those on real inputs, the whole model's outputs with them; and the inputs."""
    batch, length = combo
    seen = dict(trace.make_inputs(batch, length))
    positions = capture(model, [point], seen)[0].shape[1]
    reached = input_length(plan, positions)
    length = reached or length  # at which nothing is rounded
    wide = mask
    if mask is not None and reached is not None and positions != mask.shape[1]:
        counts = [max(1, symbolic_shapes.size(growing(plan)[0], batch, int(count))) for count in mask.sum(1)]
        mask = torch.arange(positions, device=mask.device) < torch.tensor(counts, device=mask.device)[:, None]
        wide = input_mask(plan, mask, length)
    real = masked(trace.make_inputs(batch, length), plan["inputs"], batch, length, wide, _device(seen))
    # Other values than the input's: on those a path round the hook point (a residual) would not be noticed.
    values = values_for(capture(model, [point], real)[0])
    with replaced(model, point, values):
        expected = _tensors(run_probe(model, real))
    dummy = dummy_inputs(model, plan, batch, length, wide)
    extras = {k: v for k, v in real.items() if k not in dummy}
    return _Case(values, mask if input_length(plan, values.shape[1]) else None, extras, expected), real


def _check_determined(
    point: HookPoint, main: str, kept: set[str], moved: set[str], trace: ModelTrace, raised: Exception | None
) -> None:
    if not moved:
        raise HookError(f"no output of the model depends on {point.module}; {trace.alternatives(point.module)}")
    if main not in moved:
        raise HookError(
            f"the output {main!r} does not depend on {point.module}, which moves {', '.join(sorted(moved)[:3])} alone; "
            f"{trace.alternatives(point.module)}"
        )
    if main not in kept and raised is not None:
        raise HookError(
            f"{type(trace.model).__name__} cannot be started at {point.module}, with the activations there and other "
            f"inputs before: {type(raised).__name__}: {raised}; {trace.alternatives(point.module)}"
        ) from raised
    if main not in kept or not kept & moved:
        raise HookError(
            f"the activations at {point.module} do not determine the output {main!r}: the rest of the model also sees "
            "the input by another way (a residual connection round this point, or another branch); hook a whole block "
            f"instead. Tried: other inputs, the same activation there. {trace.alternatives(point.module)}"
        )


def _masks(plan: Mapping[str, Any], trace: ModelTrace) -> list[tuple[symbolic_shapes.Combo, Tensor | None]]:
    """(batch and length, mask): without padding, padded on the right, and on the left where the model can."""
    found: list[tuple[symbolic_shapes.Combo, Tensor | None]] = [(combo, None) for combo in (*COMBOS, UNSEEN)]
    formula = plan["inputs"]["mask"]
    if formula is not None:
        batch, length = COMBOS[1]
        device = _device(trace.inputs[1])
        row, column = torch.arange(batch, device=device)[:, None], torch.arange(length, device=device)
        found.append((COMBOS[1], column < length - 3 * row))
        if formula == [0, 1, 0]:  # XLNet pools at the last position, so its batches are padded on the left
            found.append((COMBOS[1], column >= 3 * row))
    return found


def _device(inputs: Mapping[str, Any]) -> torch.device:
    return next(v.device for v in inputs.values() if isinstance(v, Tensor))


def _tensors(output: Any, prefix: str = "") -> dict[str, Tensor]:
    """All tensors of a model's output by key."""
    if isinstance(output, Tensor):
        return {prefix: output}
    if isinstance(output, Mapping):
        pairs: Any = output.items()
    elif isinstance(output, tuple | list):
        pairs = enumerate(output)
    else:
        return {}
    return {key: value for k, v in pairs for key, value in _tensors(v, f"{prefix}.{k}".lstrip(".")).items()}
