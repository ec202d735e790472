"""What a model is asked, seen by a hook: how often it runs and on what."""

from __future__ import annotations

from typing import Any

from torch import nn


def forward_passes(module: nn.Module) -> list[dict[str, Any]]:
    """A list that takes in every forward pass from now on: inputs by name, those without one as `0`, `1`, and so on."""
    seen: list[dict[str, Any]] = []

    def note(module: nn.Module, args: tuple, named: dict[str, Any]) -> None:
        seen.append({**{str(i): value for i, value in enumerate(args)}, **named})

    module.register_forward_pre_hook(note, with_kwargs=True)
    return seen
