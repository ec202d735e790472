"""Modules without parameters that take the place of pruned ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from hf_stitch.errors import HookError
from hf_stitch.hooks import symbolic_shapes
from hf_stitch.hooks.capture import overwritten
from hf_stitch.hooks.points import HookPoint

_PLAIN = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class _Running:
    """The suffix run that is under way: batch and length of its dummy inputs, and the activation to put in.

    Attributes:
        calls: how often the hook module was called so far.
    """

    batch: int
    length: int
    values: Tensor
    calls: list[int] = field(default_factory=lambda: [0])


# A context variable and no argument: stubs lie deep in a model whose own code calls them with its own arguments. And no
# attribute of theirs: a model may run in two threads, and nothing of a run is saved or copied with it.
_running: ContextVar[_Running | None] = ContextVar("hf_stitch_suffix", default=None)


@contextmanager
def injecting(batch: int, length: int, values: Tensor, point: HookPoint | None = None) -> Iterator[None]:
    """Run a suffix inside with `values` (b, t, m) at its hook point.

    Args:
        point: the hook point, where a gate or hook counts the calls of its module.

    Raises:
        HookError: the model ended without reaching the point.
    """
    state = _Running(batch, length, values)
    token = _running.set(state)
    try:
        yield
    finally:
        _running.reset(token)
    if point is not None and state.calls[0] <= point.call:
        raise HookError(
            f"the suffix called {point.name} {state.calls[0]} times and never reached {point.module}: the activation "
            "had no effect; hooks that torch.compile does not see are the usual cause: cut the model, then compile it"
        )


def _now(name: str) -> _Running:
    state = _running.get()
    if state is None:
        raise HookError(f"{name} was pruned away: this is only the suffix of a model, call it through run_suffix")
    return state


def _is_plain(value: Any) -> bool:
    return isinstance(value, _PLAIN) or (isinstance(value, tuple | list) and all(map(_is_plain, value)))


class Placeholder(nn.Module):
    """Keeps the plain attributes of the module it replaces: containers ask for them (ModernBERT's `attention_type`)."""

    def __init__(self, name: str, original: nn.Module) -> None:
        super().__init__()
        self.pruned_name = name
        self.pruned_class = type(original).__name__
        # Only plain data: a tensor or module held here would be saved with the model, or keep alive what was pruned.
        for key, value in vars(original).items():
            if key.startswith("_") or key in ("training", "pruned_name", "pruned_class"):
                continue
            if key == "config" or _is_plain(value):
                setattr(self, key, value)
        if hasattr(original, "main_input_name"):  # `generate` asks the encoder for it, pruned or not
            self.main_input_name = original.main_input_name
        self.training = original.training

    def extra_repr(self) -> str:
        return f"{self.pruned_name}: {self.pruned_class}"


class Absent(Placeholder):
    """Where a module was that a prefix never reaches."""

    def forward(self, *_args: Any, **_kwargs: Any) -> Any:
        """Refuse.

        Raises:
            HookError: always.
        """
        raise HookError(
            f"{self.pruned_name} ({self.pruned_class}) was pruned away: this is the prefix of a model, read it with "
            "capture at its hook points; load the whole model to run beyond them"
        )


# A stub for each module, where a shorter ModuleList would do for many models: loops over layers index
# `config.layer_types` by their own counter (Gemma, Qwen), which a slice would shift.
class Stub(Placeholder):
    """Gives zeros shaped like the output of the module that was here."""

    def __init__(self, name: str, original: nn.Module, spec: Any) -> None:
        super().__init__(name, original)
        self.spec = spec

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Zeros for the batch and length of the suffix run that is under way; arguments handed on still are."""
        return zeros(self.spec, _now(self.pruned_name), args, kwargs)


class Injection(Stub):
    """Gives the activation of the suffix run that is under way."""

    def __init__(self, name: str, original: nn.Module, spec: Any, point: HookPoint) -> None:
        super().__init__(name, original, spec)
        self.point = point

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The output of the module that was here, with the given activation in it."""
        state = _now(self.pruned_name)
        state.calls[0] += 1
        return overwritten(zeros(self.spec, state, args, kwargs), self.point, state.values)


# A class and no closure: `starting` tells by it that a model was cut.
class InjectionHook:
    """A forward hook that puts the activation in where the hook module itself has to stay (T5's first block)."""

    def __init__(self, point: HookPoint, counts: bool = True) -> None:
        self.point, self.counts = point, counts

    def __call__(self, _module: nn.Module, _args: Any, output: Any) -> Any:
        state = _now(self.point.module)
        state.calls[0] += self.counts
        return overwritten(output, self.point, state.values) if state.calls[0] == self.point.call + 1 else output


def put_hooks(module: nn.Module, point: HookPoint) -> None:
    """Put the activation in before all other hooks of the module and behind them, as `replaced` does."""
    module.register_forward_hook(InjectionHook(point), prepend=True)
    module.register_forward_hook(InjectionHook(point, counts=False))


class Gate:
    """Comes before a module's own class where later calls still need it (ALBERT's shared layers).

    Calls before the hook point's give zeros, its own gives the activation, and those after it are the module's.
    """

    gate_point: HookPoint
    gate_specs: Sequence[Any]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        state = _now(self.gate_point.module)
        number = state.calls[0]
        state.calls[0] += 1
        if number > self.gate_point.call:
            return super().__call__(*args, **kwargs)  # type: ignore[misc]
        output = zeros(self.gate_specs[number], state, args, kwargs)
        return output if number < self.gate_point.call else overwritten(output, self.gate_point, state.values)


def gate(module: nn.Module, point: HookPoint, specs: Sequence[Any]) -> None:
    """Put a gate before a module, in place; `specs` are the outputs of its calls up to the point's own."""
    own = type(module)
    # Hooks cannot keep a module from running, and Python looks `__call__` up in the class, so the class is exchanged;
    # it keeps the old one's name, by which `_no_split_modules` lists the layers that stay on one device.
    module.__class__ = type(own.__name__, (Gate, own), {"__module__": own.__module__, "gate_of": own})
    module.gate_point, module.gate_specs = point, list(specs)  # type: ignore[assignment]


def ungate(module: nn.Module) -> None:
    """Take the gate away again."""
    module.__class__ = module.gate_of  # type: ignore[assignment]
    del module.gate_point, module.gate_specs


def disable_checkpointing(model: nn.Module) -> None:
    """Take layers that hold placeholders (T5's first block) out of gradient checkpointing, in place.

    The backward pass would run them a second time, when no suffix run is under way.
    """
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer) and any(isinstance(m, Placeholder) for m in module.modules()):
            module.gradient_checkpointing = False


def zeros(spec: Any, state: _Running, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
    """An output of zeros; floats have the dtype of the activation that is put in."""

    def make(dims: list[symbolic_shapes.Dim], dtype: torch.dtype) -> Tensor:
        # not the recorded dtype: the model may have been cast (bfloat16, autocast) since it was traced
        kind = state.values.dtype if dtype.is_floating_point else dtype
        sizes = [symbolic_shapes.size(d, state.batch, state.length) for d in dims]
        return torch.zeros(sizes, dtype=kind, device=state.values.device)

    arguments: dict[int | str, Any] = dict(enumerate(args))
    for key, value in (kwargs or {}).items():
        arguments[key] = value
    return symbolic_shapes.build(spec, make, arguments)
