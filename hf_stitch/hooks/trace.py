"""Traced runs of a model: which modules run, how often, in which order, and what comes out of them."""

from __future__ import annotations

import copy
import difflib
import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from hf_stitch.errors import HookError, ProbeError, nearest
from hf_stitch.hooks import symbolic_shapes
from hf_stitch.hooks.points import HookPoint, canonical, resolve, select_features, split_call, uncompiled
from hf_stitch.hooks.thread_hooks import add_hook

MakeInputs = Callable[[int, int], Mapping[str, Any]]
# (batch, length) of the probing runs: both differ, and no common size of a model is a formula of both
COMBOS: tuple[symbolic_shapes.Combo, symbolic_shapes.Combo] = ((2, 7), (3, 13))
# a third one, on which formulas are tried and plans verified: a formula through two runs always fits both
UNSEEN: symbolic_shapes.Combo = (4, 10)
RUNS = (*COMBOS, UNSEEN)


@dataclass
class Trace:
    """One forward pass: for each module the clock times of entering and leaving, and its recorded outputs."""

    entered: dict[str, list[int]] = field(default_factory=dict)
    left: dict[str, list[int]] = field(default_factory=dict)
    outputs: dict[str, list[Any]] = field(default_factory=dict)


@contextmanager
def quiet(model: nn.Module) -> Iterator[None]:
    """Evaluation mode and no gradients inside; every module's own training flag is put back afterwards."""
    # Dropout and skipped layers would make no two passes alike. Frozen parts may be in evaluation mode while the rest
    # trains, so each module's own flag comes back, not the model's.
    flags = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, flag in flags:
            module.training = flag


def copied(model: nn.Module) -> nn.Module:
    """A copy that may be probed: some models change when they run.

    BigBird gives sparse attention up for good when it meets a short input, RWKV divides its weights in place.

    Raises:
        HookError: the model holds something that cannot be copied.
    """
    try:
        return copy.deepcopy(uncompiled(model))
    except (TypeError, RuntimeError, AttributeError) as error:
        raise HookError(
            f"{type(model).__name__} is probed on a copy, and cannot be copied ({type(error).__name__}: {error}); take "
            "out of it what cannot be, such as locks, open files and tensors with a history of gradients"
        ) from error


def unmoved(model: nn.Module, other: nn.Module) -> bool:
    """Whether a copy that has run is still as the model that has not: its parts, settings and weights."""
    one, two = [*model.modules()], [*other.modules()]
    if [(type(module), _plain(module)) for module in one] != [(type(module), _plain(module)) for module in two]:
        return False
    weights = other.state_dict()
    return all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())


def _plain(module: nn.Module) -> dict[str, Any]:
    held = vars(module).items()
    return {k: v for k, v in held if isinstance(v, bool | int | float | str) and k != "training" and k[0] != "_"}


def run_probe(model: nn.Module, inputs: Mapping[str, Any]) -> Any:
    """The model's output on probe inputs.

    Raises:
        HookError: the model cannot take them.
    """
    try:
        return model(**inputs)
    except Exception as error:
        shown = ", ".join(f"{k} {tuple(v.shape)}" if hasattr(v, "shape") else k for k, v in inputs.items())
        said = " ".join(str(error).split())
        raise ProbeError(
            f"{type(model).__name__} cannot run on its probe inputs ({shown}): {type(error).__name__}: {said}",
            "mend its configuration, or give a `make_inputs(batch, length)` of your own",
        ) from error


def trace(model: nn.Module, inputs: Mapping[str, Any]) -> Trace:
    """Run the model once with hooks on all modules."""
    log, clock = Trace(), itertools.count()
    handles: list[RemovableHandle] = []

    def watch(name: str, module: nn.Module) -> None:
        def enter(_module: nn.Module, _args: Any) -> None:
            log.entered.setdefault(name, []).append(next(clock))

        def leave(_module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            log.left.setdefault(name, []).append(next(clock))
            log.outputs.setdefault(name, []).append(symbolic_shapes.record(output, {**dict(enumerate(args)), **kwargs}))

        handles.append(add_hook(module.register_forward_pre_hook, enter))
        handles.append(add_hook(module.register_forward_hook, leave, with_kwargs=True))

    try:
        # named_modules gives a shared module once, so that its calls are counted under one name
        for name, module in model.named_modules():
            watch(name, module)
        with quiet(model):
            run_probe(model, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return log


class ModelTrace:
    """What runs at `COMBOS` and `UNSEEN` showed of a model, which may change by them: give it a copy."""

    def __init__(self, model: nn.Module, make_inputs: MakeInputs) -> None:
        self.model, self.make_inputs = model, make_inputs
        self.inputs = [dict(make_inputs(batch, length)) for batch, length in RUNS]
        self.traces = [trace(model, inputs) for inputs in self.inputs]
        self.modules = dict(model.named_modules())
        self._outputs: dict[str, Any] = {}

    def calls(self, name: str) -> int:
        """How often the module ran in one pass."""
        return len(self.traces[0].outputs.get(split_call(name)[0], ()))

    def output(self, name: str) -> Any:
        """The fitted output of a module or of one call; UNKNOWN when its calls differ or no formula holds."""
        if name not in self._outputs:
            self._outputs[name] = self._fit(name)
        return self._outputs[name]

    def _fit(self, name: str) -> Any:
        module, number = split_call(name)
        runs = [t.outputs.get(module, []) for t in self.traces]
        if not runs[0] or any(len(outputs) != len(runs[0]) for outputs in runs):
            return symbolic_shapes.UNKNOWN
        calls = list(zip(*runs)) if number is None else [tuple(outputs[number] for outputs in runs)]
        fits = [symbolic_shapes.fit(call, RUNS) for call in calls]
        return fits[0] if all(f == fits[0] for f in fits) else symbolic_shapes.UNKNOWN

    def examine(self, name: str, output: int | str | None = None) -> tuple[HookPoint | None, str]:
        """(hook point, "") at the canonical name of a module, or (None, why it is unusable)."""
        reason = self.reason_calls(name)
        if reason:
            return None, reason
        which, tensor = symbolic_shapes.part(self.output(name), output)
        if tensor is None:
            if symbolic_shapes.entry(self.output(name), output)[1] == symbolic_shapes.UNFITTED:
                shapes = self.shapes(name, output)
                return None, f"gives a tensor with no batch axis of its own, or whose sizes follow no length: {shapes}"
            wanted = "no tensor" if output is None else f"no tensor at output {output!r}"
            return None, f"gives {wanted} that follows batch and length: {self.shape(name)}"
        layout, width = layout_of(tensor, self.modules[split_call(name)[0]])
        return (None, layout) if width is None else (HookPoint(name, which, layout, width), "")

    def point(self, name: str, output: int | str | None = None, features: Any = "all") -> HookPoint:
        """The hook point at a module.

        Raises:
            HookError: it never runs, its calls are several and none is named, or its output is no usable activation.
        """
        name = canonical(self.model, name)
        found, reason = self.examine(name, output)
        if found is None:
            raise HookError(f"{name} {reason}; {self.alternatives(name)}")
        return replace(found, features=select_features(features, found.width))

    def reason_calls(self, name: str) -> str | None:
        """Why the number of calls of a module forbids a hook there; None when it is known which call is meant."""
        count, (module, number) = self.calls(name), split_call(name)
        if count and number is not None:
            return None if number < count else f"is called {count} times in one forward pass, counted from 0"
        if count == 1:
            return None
        if count > 1:
            return (
                f"is called {count} times in one forward pass; a hook point is one call of it, say which: "
                f"{name}#0 to {name}#{count - 1}"
            )
        if isinstance(self.modules[module], nn.ModuleList | nn.ModuleDict | nn.ParameterList):
            return "is a container that is never called itself, hook one of its members"
        return "is never called in a forward pass (unused, or used through another of its methods)"

    def alternatives(self, name: str) -> str:
        """A phrase that names usable hook points near `name`: members and owners first, then similar names."""
        name = split_call(name)[0]
        usable = [other for other in self.modules if other and other != name and self.examine(other)[0]]
        members = sorted((o for o in usable if o.startswith(f"{name}.")), key=lambda o: o.count("."))
        owners = [o for o in usable if name.startswith(f"{o}.")][::-1]
        similar = difflib.get_close_matches(name, usable, n=3, cutoff=0.4)
        found = list(dict.fromkeys([*members[:2], *owners[:1], *similar]))[:4]
        return f"usable ones nearby: {', '.join(found)}" if found else nearest(name, usable)

    def shapes(self, name: str, output: int | str | None) -> str:
        """The shapes of a tensor in the runs."""
        module, number = split_call(name)
        found = [symbolic_shapes.part(run.outputs[module][number or 0], output)[1] for run in self.traces]
        return ", ".join(str(tuple(one["tensor"])) for one in found)

    def shape(self, name: str) -> str:
        """The module's output in symbols, for example (b, t, 96)."""
        return show(self.output(name)) if self.calls(name) else "-"


def show(spec: Any) -> str:
    """A fitted output in symbols."""
    if spec is None:
        return "None"
    if "tensor" in spec:
        return (
            f"({', '.join(symbolic_shapes.symbol(d) for d in spec['tensor'])}{',' if len(spec['tensor']) == 1 else ''})"
        )
    if "mapping" in spec:
        return "{" + ", ".join(f"{k}: {show(v)}" for k, v in spec["mapping"].items()) + "}"
    for kind in ("tuple", "list"):
        if kind in spec:
            return f"{kind}[{', '.join(show(v) for v in spec[kind])}]"
    return repr(spec["value"]) if "value" in spec else "?"


_BATCH = [1, 0, 1]
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm)


def layout_of(tensor: Mapping[str, Any], module: nn.Module) -> Any:
    """(layout, width) of a fitted tensor, or (reason, None) when it is no activation of one vector per position."""
    dims = tensor["tensor"]
    shape = show(tensor)
    if not getattr(torch, tensor["dtype"]).is_floating_point:
        return f"gives {tensor['dtype']} values {shape}, not activations", None
    if len(dims) == 3 and dims[1] == _BATCH and isinstance(dims[2], int):
        return "time_first", dims[2]
    if len(dims) < 2 or dims[0] != _BATCH:
        return f"gives {shape}, which has no batch axis of its own", None
    rest = dims[1:]
    fixed = [isinstance(d, int) for d in rest]
    if len(rest) == 1:
        return ("flat", rest[0]) if fixed[0] else (f"gives {shape}, which has no feature axis", None)
    convolution = isinstance(module, _CONVOLUTIONS)
    if all(fixed):
        # no axis tells by following the length: images are (b, m, h, w) unless two equal axes come first, (b, h, w, m)
        image_last = len(rest) == 3 and rest[0] == rest[1] != rest[2]
        first: Literal[False] | bool = convolution or (len(rest) >= 3 and not image_last)
        return ("channels_first", rest[0]) if first else ("batch_first", rest[-1])
    if fixed[0] and not any(fixed[1:]):
        return "channels_first", rest[0]
    if fixed[-1] and not any(fixed[:-1]):
        return "batch_first", rest[-1]
    return f"gives {shape}, which is not one vector per position", None


def probe(
    model: nn.Module, module: str, make_inputs: MakeInputs, output: int | str | None = None, features: Any = "all"
) -> HookPoint:
    """Find out what the hook point at `module` looks like, by running the model.

    Args:
        make_inputs: (batch, length) -> keyword arguments of the model, see `make_inputs_for`.
        output: index or key of the tensor meant in a tuple or ModelOutput; the first tensor by default.
        features: "all", {"every": k} or a list of indices.

    Raises:
        HookError: no such module; it is called never, or several times and `module` does not say which one is meant
            (usable ones nearby are named); its output is not one vector per position; features out of range; the model
            cannot run on the inputs.
    """
    resolve(uncompiled(model), module)
    return ModelTrace(copied(model), make_inputs).point(module, output, features)
