"""Outputs of modules as plain data: their shapes as formulas of batch and length, and zeros made from them.

A dimension is an int, [k, a, c] for batch^k * (a * length + c), or [0, 1, c, d] for (length + c) // d; formulas come
from runs that differ in both. A tensor that is one of the module's own arguments, handed on, says so under `from`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

Dim = int | list[int]
Combo = tuple[int, int]
UNKNOWN: dict[str, Any] = {"unknown": True}
UNFITTED: dict[str, Any] = {"unknown": "tensor"}
"""A tensor that no formula describes: still the one that an output begins with, not to be passed over for the next."""


def record(value: Any, arguments: Mapping[int | str, Any] | None = None) -> dict[str, Any] | None:
    """Plain data that describes `value` without its numbers; `UNKNOWN` where it cannot be made again."""
    if value is None:
        return None
    if isinstance(value, Tensor):
        found: dict[str, Any] = {"tensor": list(value.shape), "dtype": str(value.dtype).removeprefix("torch.")}
        if (order := _order(value)) is not None:
            found["order"] = order
        # T5's blocks hand on the relative bias of the first one: so must a stub, zeros would be another bias
        same = next((key for key, other in (arguments or {}).items() if other is value), None)
        return found if same is None else found | {"from": same}
    if isinstance(value, bool | int | float | str):
        return {"value": value}
    if isinstance(value, Mapping):
        kind = type(value)
        path = "dict" if kind is dict else f"{kind.__module__}.{kind.__qualname__}"
        return {"mapping": {str(k): record(v, arguments) for k, v in value.items()}, "class": path}
    for sequence in (tuple, list):
        if isinstance(value, sequence):
            return {sequence.__name__: [record(v, arguments) for v in value]}
    return UNKNOWN


def _order(value: Tensor) -> list[int] | None:
    """The axes of a tensor as they lie in memory, None in the usual order: sums round by it (FSMT's time first)."""
    order = sorted(range(value.ndim), key=value.stride, reverse=True)
    return None if value.is_contiguous() or not value.permute(order).is_contiguous() else order


def fit_dim(sizes: Sequence[int], combos: Sequence[Combo]) -> Dim | None:
    """The formula of a dimension that was sizes[i] at (batch, length) = combos[i]; None when there is none."""

    def holds(dim: Dim) -> bool:
        return all(size(dim, *combo) == found for found, combo in zip(sizes, combos))

    return next(filter(holds, _formulas(sizes, combos)), None)


def _formulas(sizes: Sequence[int], combos: Sequence[Combo]) -> Iterator[Dim]:
    """What the first two runs may mean, the plainest first: t + 5 and 6 b are 12 and 18 at (2, 7) and (3, 13)."""
    (first, second), ((b1, l1), (b2, l2)) = sizes[:2], combos[:2]
    if first == second:
        yield first
    if first * b2 == second * b1 and first % b1 == 0:
        yield [1, 0, first // b1]
    for power in (0, 1):
        if first % b1**power or second % b2**power:
            continue
        one, two = first // b1**power, second // b2**power
        if (two - one) % (l2 - l1) == 0:
            slope = (two - one) // (l2 - l1)
            yield [power, slope, one - slope * l1]
    # A sequence that is shortened, rounding down or up: SEW squeezes by 2, Funnel's pyramids by 4 and put something
    # before; the others by hand.
    for widest, divisors in ((1, (2, 4, 8)), (2, (2, 4, 8, 3, 5, 6, 7, 10, 12, 16))):
        for d in divisors:
            for c in sorted(range(1 - widest * d, widest * d), key=abs):
                yield [0, 1, c, d]


def fit(recorded: Sequence[Any], combos: Sequence[Combo]) -> Any:
    """The recorded outputs of one module as one, with formulas for dimensions; UNKNOWN where they disagree."""
    first = recorded[0]
    if all(one is None for one in recorded):
        return None
    if not all(isinstance(one, dict) for one in recorded):
        return UNKNOWN
    if all("tensor" in one for one in recorded):
        return _fit_tensor(recorded, combos)
    if any(set(one) != set(first) for one in recorded):
        return UNKNOWN
    if "mapping" in first:
        if any(list(o["mapping"]) != list(first["mapping"]) or o["class"] != first["class"] for o in recorded):
            return UNKNOWN
        items = {key: fit([one["mapping"][key] for one in recorded], combos) for key in first["mapping"]}
        return {"mapping": items, "class": first["class"]}
    for kind in ("tuple", "list"):
        if kind in first:
            if any(len(one[kind]) != len(first[kind]) for one in recorded):
                return UNKNOWN
            return {kind: [fit(parts, combos) for parts in zip(*(one[kind] for one in recorded))]}
    return first if all(one == first for one in recorded) and first != UNKNOWN else UNKNOWN


def _fit_tensor(recorded: Sequence[Any], combos: Sequence[Combo]) -> Any:
    first = recorded[0]
    if any(one["dtype"] != first["dtype"] or len(one["tensor"]) != len(first["tensor"]) for one in recorded):
        return UNFITTED
    dims = [fit_dim(sizes, combos) for sizes in zip(*(one["tensor"] for one in recorded))]
    handed_on = {"from": first["from"]} if all(one.get("from") == first.get("from", "") for one in recorded) else {}
    order = {"order": first["order"]} if all(one.get("order", ()) == first.get("order") for one in recorded) else {}
    return UNFITTED if None in dims else {"tensor": dims, "dtype": first["dtype"], **handed_on, **order}


def known(spec: Any) -> bool:
    """Whether nothing in a fitted output is UNKNOWN, so that `build` can make it."""
    if spec is None or "tensor" in spec or "value" in spec:
        return True
    parts = spec["mapping"].values() if "mapping" in spec else spec.get("tuple") or spec.get("list") or []
    return "unknown" not in spec and all(known(part) for part in parts)


def size(dim: Dim, batch: int, length: int) -> int:
    """A dimension at (batch, length)."""
    if isinstance(dim, int):
        return dim
    power, slope, offset, *divisor = dim
    return int(batch**power * ((slope * length + offset) // (divisor[0] if divisor else 1)))


def length_of(dim: Dim, wanted: int) -> int | None:
    """The length at which a dimension that depends on the length alone is `wanted`; None when it never is.

    Of several lengths the multiple of the divisor is taken, at which nothing is rounded.
    """
    if isinstance(dim, int):
        return None
    _, slope, offset, *divisor = dim
    if not divisor:
        length, rest = divmod(wanted - offset, slope)
        return None if rest or length < 1 else length
    (d,) = divisor
    fitting = [length for length in range(wanted * d - offset, wanted * d - offset + d) if length > 0]
    return min(fitting, key=lambda length: (length % d, length), default=None)


def build(
    spec: Any,
    make: Callable[[list[Dim], torch.dtype], Tensor],
    arguments: Mapping[int | str, Any] | None = None,
) -> Any:
    """An output as `spec` describes it, each tensor made by `make(dims, dtype)` or handed on from `arguments`."""
    if spec is None:
        return None
    if "from" in spec and arguments is not None and isinstance(arguments.get(spec["from"]), Tensor):
        return arguments[spec["from"]]
    if "tensor" in spec:
        order = spec.get("order") or list(range(len(spec["tensor"])))
        made = make([spec["tensor"][axis] for axis in order], getattr(torch, spec["dtype"]))
        return made if "order" not in spec else made.permute([order.index(axis) for axis in range(len(order))])
    if "value" in spec:
        return spec["value"]
    if "mapping" in spec:
        items = {k: build(v, make, arguments) for k, v in spec["mapping"].items()}
        return items if spec["class"] == "dict" else transformers_class(spec["class"])(**items)
    if "unknown" in spec:
        raise ValueError("an output that cannot be made again")
    kind = tuple if "tuple" in spec else list
    return kind(build(part, make, arguments) for part in spec[kind.__name__])


def transformers_class(path: str) -> Any:
    """The output class at a dotted path; only transformers' own classes are ever imported from a plan."""
    module, _, name = path.rpartition(".")
    if not module.startswith("transformers."):
        raise ValueError(f"refusing to import {path!r} from a plan")
    return getattr(importlib.import_module(module), name)


def part(spec: Any, which: int | str | None) -> tuple[int | str | None, Any]:
    """(key, tensor description) of the tensor that `which` means; (which, None) when it is no tensor."""
    which, found = entry(spec, which)
    return which, found if isinstance(found, dict) and "tensor" in found else None


def entry(spec: Any, which: int | str | None) -> tuple[int | str | None, Any]:
    """(key, description) of what `which` means, None the first tensor, also one that no formula fits."""
    if not isinstance(spec, dict):
        return which, None
    if _is_tensor(spec):
        return (None, spec) if which in (None, 0) else (which, None)
    entries = spec.get("mapping") or dict(enumerate(spec.get("tuple") or spec.get("list") or []))
    if which is None:
        which = next((key for key, value in entries.items() if _is_tensor(value)), None)
    elif "mapping" in spec and isinstance(which, int):
        which = list(entries)[which] if which < len(entries) else None
    return which, entries.get(which)


def _is_tensor(spec: Any) -> bool:
    return isinstance(spec, dict) and ("tensor" in spec or spec == UNFITTED)


def symbol(dim: Dim) -> str:
    """A dimension for human eyes: b, t, 2t+1, 96."""
    if isinstance(dim, int):
        return str(dim)
    power, slope, offset, *divisor = dim
    if divisor:
        return f"(t{offset:+d})//{divisor[0]}" if offset else f"t//{divisor[0]}"
    time = "" if not slope else ("t" if slope == 1 else f"{slope}t")
    shift = f"{offset:+d}" if slope and offset else "" if slope else str(offset)
    inner = time + shift
    if not power:
        return inner
    return "b" if inner == "1" else f"b*({inner})" if shift and slope else f"b*{inner}"
