"""Activations at hook points together with the model's own output, from one whole forward pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from hf_stitch.errors import HookError
from hf_stitch.hooks.capture import selected, uncompiled
from hf_stitch.hooks.points import HookPoint, normalise, pick, resolve


def observe(model: nn.Module, points: Sequence[HookPoint], inputs: Mapping[str, Any]) -> tuple[list[Tensor], Any]:
    """Run the whole model and keep what passes the hook points.

    Returns:
        One (b, t, m) tensor for each point as `capture` gives it, and the model's output.

    Raises:
        HookError: a point fired never or more than once.
    """
    model = uncompiled(model)
    seen: dict[int, list[Tensor]] = {number: [] for number in range(len(points))}
    handles = []

    def watch(number: int, point: HookPoint) -> Any:
        def leave(_module: nn.Module, _args: Any, output: Any) -> None:
            # cloned: later layers may write into their input in place
            seen[number].append(selected(normalise(pick(output, point.output), point.layout), point).clone())

        return leave

    try:
        for number, point in enumerate(points):
            handles.append(resolve(model, point.module).register_forward_hook(watch(number, point)))
        output = model(**inputs)
    finally:
        for handle in handles:
            handle.remove()
    for number, point in enumerate(points):
        count = len(seen[number])
        if count <= point.call or (count > 1 and point.module == point.name):
            raise HookError(
                f"{point.module} fired {count} times in one pass; a hook point is one call, and that one runs"
            )
    return [seen[number][point.call] for number, point in enumerate(points)], output
