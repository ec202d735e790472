"""What prefix and suffix plans share: taking modules and parameters out, for a trial or for good."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hf_stitch.errors import HookError
from hf_stitch.hooks.points import resolve

PLAN_VERSION = 1  # saved models hold their plans: raised when those before can no longer be carried out
_TRAINING_NOISE = {"layerdrop": 0.0, "encoder_layerdrop": 0.0, "decoder_layerdrop": 0.0, "apply_spec_augment": False}


def check_plan(plan: Mapping[str, Any], kind: str) -> None:
    """Refuse what is no plan of this kind and version.

    Raises:
        HookError: another kind or version.
    """
    got = (plan.get("kind"), plan.get("version"))
    if got != (kind, PLAN_VERSION):
        raise HookError(f"expected a {kind} plan of version {PLAN_VERSION}, got {got}; make it again with plan_{kind}")


def places(model: nn.Module, module: nn.Module) -> list[tuple[nn.Module, str]]:
    """All (owner, attribute) under which a module is registered."""
    return [(owner, key) for owner in model.modules() for key, child in owner._modules.items() if child is module]


def owners(names: Iterable[str]) -> set[str]:
    """The names of all modules that contain one of the named ones."""
    return {".".join(parts[:i]) for parts in (name.split(".") for name in names) for i in range(len(parts))}


def own_parameters(model: nn.Module, names: Iterable[str]) -> list[str]:
    """Parameters owned directly by the named modules ("" is the model itself)."""
    modules = dict(model.named_modules())
    found = []
    for name in sorted(set(names) & set(modules)):
        found += [f"{name}.{key}".lstrip(".") for key, p in modules[name]._parameters.items() if p is not None]
    return found


def holds_tensors(module: nn.Module) -> bool:
    """Whether anything is saved by leaving the module out."""
    return next(module.parameters(), None) is not None or next(module.buffers(), None) is not None


def members(modules: Mapping[str, nn.Module], name: str) -> list[str]:
    """The modules with tensors directly inside the one called `name`."""
    return [n for n in modules if n.rpartition(".")[0] == name and holds_tensors(modules[n])]


def _split(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    owner, _, key = name.rpartition(".")
    return (resolve(model, owner) if owner else model), key


@contextmanager
def removed(model: nn.Module, vacant: Mapping[str, nn.Module], dropped: Iterable[str]) -> Iterator[None]:
    """The model with modules and parameters taken out; everything is put back afterwards."""
    # Every place: with only one of a shared module's taken out, its weights would stay and be saved.
    swaps = [(places(model, resolve(model, name)), resolve(model, name), new) for name, new in vacant.items()]
    parameters = [(*_split(model, name),) for name in dropped]
    kept = [(owner, key, dict(owner._parameters)) for owner, key in parameters]
    try:
        for found, _, new in swaps:
            for owner, key in found:
                owner._modules[key] = new
        for owner, key in parameters:
            _forget(owner, key)
        yield
    finally:
        for owner, key, before in reversed(kept):
            owner.__dict__.pop(key, None)
            # all anew, in their old order: optimizers number parameters by it
            owner._parameters.clear()
            owner._parameters.update(before)
        for found, old, _ in swaps:
            for owner, key in found:
                owner._modules[key] = old


def _forget(owner: nn.Module, key: str) -> None:
    """Take a parameter out, leaving a tensor without storage: `_init_weights` of its class still asks for it."""
    old = owner._parameters.pop(key)
    assert old is not None
    setattr(owner, key, torch.empty(0, dtype=old.dtype, device="meta"))


def take_out(model: nn.Module, vacant: Mapping[str, nn.Module], dropped: Iterable[str]) -> None:
    """Take modules and parameters out for good, and make the rest save and load as it is."""
    for name, new in vacant.items():
        for owner, key in places(model, resolve(model, name)):
            owner._modules[key] = new
            if not owner._parameters and not owner._buffers:
                # `_init_weights` may reach from the owner into the module that is gone; but it must still fill
                # the owner's own buffers (position_ids), which no checkpoint holds
                owner._is_hf_initialized = True  # type: ignore[assignment]
    for name in dropped:
        owner, key = _split(model, name)
        if key not in owner._parameters:
            raise HookError(
                f"{type(model).__name__} has no parameter {name!r}; the plan is of another model, make it again"
            )
        _forget(owner, key)
    _untie(model)
    _without_training_noise(model)
    _without_embeddings(model)


def _untie(model: nn.Module) -> None:
    """Forget ties of which one side is gone; otherwise saving looks for it and loading leaves the other random."""
    untied, kept = {}, set()  # by configuration, which a model shares with its parts
    for module in model.modules():
        ties = getattr(module, "all_tied_weights_keys", None)
        if not ties:
            continue
        left = _ties_left(ties, {name for name, _ in module.named_parameters(remove_duplicate=False)})
        config = getattr(module, "config", None)
        if left:
            kept.add(id(config))
        if left != dict(ties):
            module.all_tied_weights_keys = left  # type: ignore[assignment]
            module._tied_weights_keys = left or None  # type: ignore[assignment]
            untied[id(config)] = config
    for number, config in untied.items():
        if config is not None and number not in kept:
            config.tie_word_embeddings = False


def _ties_left(ties: Mapping[str, str], there: set[str]) -> dict[str, str]:
    """Ties between parameters that are there; those tied to one that is gone are tied to the first of them."""
    first: dict[str, str] = {}
    left = {}
    for name, other in ties.items():
        if name not in there:
            continue
        if other in there:
            left[name] = other
        elif first.setdefault(other, name) != name:
            left[name] = first[other]
    return left


def _without_training_noise(model: nn.Module) -> None:
    """Switch off what skips layers or overwrites frames in training: it would skip the activation that is put in."""
    for module in model.modules():
        for key, value in _TRAINING_NOISE.items():
            for holder in (module, getattr(module, "config", None)):
                if holder is not None and key in vars(holder):
                    setattr(holder, key, value)


def _without_embeddings(model: nn.Module) -> None:
    """Let models without embeddings say so in transformers' own way (gradient checkpointing asks for them)."""
    for module in model.modules():
        if hasattr(module, "get_input_embeddings"):
            try:
                module.get_input_embeddings()  # type: ignore[operator]
            except AttributeError:
                module.get_input_embeddings = _no_embeddings  # type: ignore[assignment]
            except NotImplementedError:
                continue


def _no_embeddings() -> nn.Module:
    raise NotImplementedError("the input embeddings were pruned away")


def largest_working(
    names: list[str], works: Callable[[list[str]], bool], children: Callable[[str], list[str]] = lambda _: []
) -> list[str]:
    """All names if that works; otherwise as many as do, going into the children of each one that does not.

    Sets that fail are halved, so that one culprit among n costs about 2 log2(n) trials.
    """

    def grow(chosen: list[str], more: list[str]) -> list[str]:
        if not more or works([*chosen, *more]):
            return [*chosen, *more]
        if len(more) == 1:
            return grow(chosen, children(more[0]))
        half = len(more) // 2
        return grow(grow(chosen, more[:half]), more[half:])

    return grow([], names)


def same(first: Tensor, second: Tensor) -> bool:
    """Bit for bit the same tensor; NaN equals NaN (rows of nothing but padding may be NaN)."""
    if first.shape != second.shape or first.dtype != second.dtype:
        return False
    return bool(torch.equal(first, second)) or bool(((first == second) | (first.isnan() & second.isnan())).all())


def values_for(seen: Tensor) -> Tensor:
    """Plausible activations (b, t, m) that are not the seen ones: mixed over batch and time, with noise."""
    generator = torch.Generator().manual_seed(seen.numel())
    noise = torch.randn(seen.shape, generator=generator).to(seen.device, seen.dtype)
    # 0.5 by hand: far enough from what was seen to move every output that depends on it, near enough to be plausible
    return seen.flip(0, 1) + 0.5 * seen.std() * noise
