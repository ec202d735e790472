"""Read or overwrite activations of a whole model in one forward pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hf_stitch.errors import HookError
from hf_stitch.hooks.points import HookPoint, denormalise, normalise, pick, put, resolve, uncompiled
from hf_stitch.hooks.thread_hooks import add_hook


# Raising ends a pass in every family that was tried, and nothing else does: `output_hidden_states` runs all layers,
# even when indices are asked for. It is caught in the same call, hence inside whatever wraps the model: an exception
# that passes through DDP's own forward leaves gradients unsynchronised, without a word.
class _Enough(BaseException):
    """Leaves a forward pass early; a BaseException, so that no `except Exception` of a model swallows it."""


def selected(values: Tensor, point: HookPoint) -> Tensor:
    """The features (..., m) -> (..., len(features)) that a point selects."""
    if values.shape[-1] != point.width:
        raise HookError(
            f"{point.module} was probed with {point.width} features; got {values.shape[-1]}: probe it again"
        )
    if point.features is None:
        return values
    return values.index_select(-1, torch.tensor(point.features, device=values.device))


def capture(model: nn.Module, points: Sequence[HookPoint], inputs: Mapping[str, Any]) -> list[Tensor]:
    """Activations at some hook points, from one forward pass that ends as soon as all of them were seen.

    Gradient, autocast and inference mode are the caller's; nothing is detached, and no hook stays behind.

    Args:
        inputs: keyword arguments of the model.

    Returns:
        One (b, t, m) tensor for each point, in the model's dtype, features selected; t = 1 for "flat" points.

    Raises:
        HookError: no points, a point that was not reached, or one whose output changed since it was probed.
    """
    if not points:
        raise HookError("capture needs at least one hook point; got none")
    model = uncompiled(model)
    seen: dict[int, Tensor] = {}
    calls = [0] * len(points)
    handles = []

    def watch(number: int, point: HookPoint) -> Any:
        def leave(_module: nn.Module, _args: Any, output: Any) -> None:
            if not _is_turn(point, calls, number):
                return
            values = selected(normalise(pick(output, point.output), point.layout), point)
            last = len(seen) + 1 == len(points)
            # what runs on may write into its input in place (Wav2Vec2 zeroes padded frames)
            seen[number] = values if last else values.clone()
            if last:
                raise _Enough

        return leave

    try:
        for number, point in enumerate(points):
            handles.append(add_hook(resolve(model, point.module).register_forward_hook, watch(number, point)))
        model(**inputs)
    except _Enough:
        return [seen[number] for number in range(len(points))]
    finally:
        for handle in handles:
            handle.remove()
    missing = [point.module for number, point in enumerate(points) if number not in seen]
    raise HookError(f"the forward pass never called {', '.join(missing)}; probe the hook point with these inputs")


def _is_turn(point: HookPoint, calls: list[int], number: int) -> bool:
    """Count a call of a hook module; True for the call that is meant.

    Raises:
        HookError: a second call where the point was probed as called once.
    """
    calls[number] += 1
    if calls[number] > 1 and point.module == point.name:
        raise HookError(f"{point.module} was called a second time in one pass; say which call is meant: {point.name}#0")
    return calls[number] == point.call + 1


@contextmanager
def replaced(model: nn.Module, point: HookPoint, value: Tensor) -> Iterator[None]:
    """Overwrite an activation in the forward passes of a whole model.

    Args:
        value: (b, t, width), or (b, t, len(features)) to overwrite only the selected features; cast to the dtype there.

    Raises:
        HookError: the sizes do not fit, or no forward pass inside reached the point.
    """
    model = uncompiled(model)
    calls, done = [0], False

    # Several passes may run inside (beams, a check of several batches): calls are counted anew in each.
    def begin(_module: nn.Module, _args: Any) -> None:
        calls[0] = 0

    def leave(_module: nn.Module, _args: Any, output: Any) -> Any:
        nonlocal done
        if not _is_turn(point, calls, 0):
            return None
        done = True
        return overwritten(output, point, value)

    def keep(_module: nn.Module, _args: Any, output: Any) -> Any:
        return overwritten(output, point, value) if calls[0] == point.call + 1 else None

    module = resolve(model, point.module)
    handles = [
        add_hook(model.register_forward_pre_hook, begin),
        # Before all others: transformers' own hooks keep what they see for `output_hidden_states`, which some models
        # read instead of the output (LLaVA's `vision_feature_layer`). And behind all others: a hook of the user's that
        # changes the output has done so already in what `capture` reads.
        add_hook(module.register_forward_hook, leave, prepend=True),
        add_hook(module.register_forward_hook, keep),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    if not done:
        raise HookError(
            f"the forward pass never called {point.module}, nothing was replaced; probe the hook point again"
        )


def overwritten(output: Any, point: HookPoint, value: Tensor) -> Any:
    """A copy of a module's output with the activation `value` in it, in its own layout, dtype and container."""
    # The container is kept, since one layer returns a tensor in one version of transformers and a tuple in another,
    # and callers unpack it (XLNet's (h, g), T5's (h, position_bias)).
    old = pick(output, point.output)
    if point.features is not None and value.shape[-1] == len(point.features) != point.width:
        whole = normalise(old, point.layout)
        index = torch.tensor(point.features, device=old.device)
        value = whole.index_copy(-1, index, value.to(old.device, old.dtype))
    new = denormalise(value.to(old.device, old.dtype), point.layout, old.shape)
    # as the old one lies in memory, for what follows rounds by it
    return put(output, point.output, new if new.stride() == old.stride() else torch.empty_like(old).copy_(new))


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
            handles.append(add_hook(resolve(model, point.module).register_forward_hook, watch(number, point)))
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
