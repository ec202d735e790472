"""Modules without parameters that take the place of pruned ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hf_stitch.errors import HookError
from hf_stitch.hooks import structure
from hf_stitch.hooks.capture import overwritten
from hf_stitch.hooks.points import HookPoint

_PLAIN = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class _Running:
    """The suffix run that is under way: batch and length of its dummy inputs, and the activation to put in."""

    batch: int
    length: int
    values: Tensor


_running: ContextVar[_Running | None] = ContextVar("hf_stitch_suffix", default=None)


@contextmanager
def injecting(batch: int, length: int, values: Tensor) -> Iterator[None]:
    """Run suffixes inside with `values` (b, t, m) at their hook point."""
    token = _running.set(_Running(batch, length, values))
    try:
        yield
    finally:
        _running.reset(token)


def _now(name: str) -> _Running:
    state = _running.get()
    if state is None:
        raise HookError(f"{name} was pruned away: this is only the suffix of a model, call it through run_suffix")
    return state


def _is_plain(value: Any) -> bool:
    return isinstance(value, _PLAIN) or (isinstance(value, tuple | list) and all(map(_is_plain, value)))


class Vacant(nn.Module):
    """Keeps the plain attributes of the module it replaces: containers ask for them (ModernBERT's `attention_type`)."""

    def __init__(self, name: str, original: nn.Module) -> None:
        super().__init__()
        self.pruned_name = name
        self.pruned_class = type(original).__name__
        for key, value in vars(original).items():
            if key.startswith("_") or key in ("training", "pruned_name", "pruned_class"):
                continue
            if key == "config" or _is_plain(value):
                setattr(self, key, value)
        if hasattr(original, "main_input_name"):
            self.main_input_name = original.main_input_name
        self.training = original.training

    def extra_repr(self) -> str:
        return f"{self.pruned_name}: {self.pruned_class}"


class Absent(Vacant):
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


class Stub(Vacant):
    """Gives zeros shaped like the output of the module that was here."""

    def __init__(self, name: str, original: nn.Module, spec: Any) -> None:
        super().__init__(name, original)
        self.spec = spec

    def forward(self, *_args: Any, **_kwargs: Any) -> Any:
        """Zeros for the batch and length of the suffix run that is under way."""
        return zeros(self.spec, _now(self.pruned_name))


class Injection(Stub):
    """Gives the activation of the suffix run that is under way."""

    def __init__(self, name: str, original: nn.Module, spec: Any, point: HookPoint) -> None:
        super().__init__(name, original, spec)
        self.point = point

    def forward(self, *_args: Any, **_kwargs: Any) -> Any:
        """The output of the module that was here, with the given activation in it."""
        state = _now(self.pruned_name)
        return overwritten(zeros(self.spec, state), self.point, state.values)


class InjectionHook:
    """A forward hook that puts the activation in where the hook module itself has to stay (T5's first block)."""

    def __init__(self, point: HookPoint) -> None:
        self.point = point

    def __call__(self, _module: nn.Module, _args: Any, output: Any) -> Any:
        return overwritten(output, self.point, _now(self.point.module).values)


def zeros(spec: Any, state: _Running) -> Any:
    """An output of zeros; floats have the dtype of the activation that is put in."""

    def make(dims: list[structure.Dim], dtype: torch.dtype) -> Tensor:
        kind = state.values.dtype if dtype.is_floating_point else dtype
        sizes = [structure.size(d, state.batch, state.length) for d in dims]
        return torch.zeros(sizes, dtype=kind, device=state.values.device)

    return structure.build(spec, make)
