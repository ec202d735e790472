"""Outputs of modules as plain data: their shapes as formulas of batch and length, and zeros made from them.

A dimension is an int, [k, a, c] for batch^k * (a * length + c), or [0, 1, c, d] for (length + c) // d; formulas come
from two runs that differ in both. A tensor that is one of the module's own arguments, handed on, says so under `from`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

Dim = int | list[int]
Combo = tuple[int, int]
UNKNOWN: dict[str, Any] = {"unknown": True}


def record(value: Any, arguments: Mapping[int | str, Any] | None = None) -> dict[str, Any] | None:
    """Plain data that describes `value` without its numbers; `UNKNOWN` where it cannot be made again."""
    if value is None:
        return None
    if isinstance(value, Tensor):
        found = {"tensor": list(value.shape), "dtype": str(value.dtype).removeprefix("torch.")}
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


def fit_dim(sizes: Sequence[int], combos: Sequence[Combo]) -> Dim | None:
    """The formula of a dimension that was sizes[i] at (batch, length) = combos[i]; None when there is none."""
    (first, second), ((b1, l1), (b2, l2)) = sizes, combos
    # In this order, the plainest first: two runs fit several formulas, and plans are verified on a third size.
    if first == second:
        return first
    if first * b2 == second * b1 and first % b1 == 0:
        return [1, 0, first // b1]
    for power in (0, 1):
        if first % b1**power or second % b2**power:
            continue
        one, two = first // b1**power, second // b2**power
        if (two - one) % (l2 - l1) == 0:
            slope = (two - one) // (l2 - l1)
            return [power, slope, one - slope * l1]
    return _shortened((first, second), (l1, l2))


def _shortened(sizes: tuple[int, int], lengths: tuple[int, int]) -> Dim | None:
    """The formula (length + c) // d of a sequence that a model shortens by d, rounding down or up (SEW)."""
    # SEW squeezes by 2, Funnel's pyramids by 4 and put something before; the others by hand
    for widest, divisors in ((1, (2, 4, 8)), (2, (2, 4, 8, 3, 5, 6, 7, 10, 12, 16))):
        for d in divisors:
            for c in sorted(range(1 - widest * d, widest * d), key=abs):
                if all((length + c) // d == n for n, length in zip(sizes, lengths)):
                    return [0, 1, c, d]
    return None


def fit(first: Any, second: Any, combos: Sequence[Combo]) -> Any:
    """The two recorded outputs of one module as one, with formulas for dimensions; UNKNOWN where they disagree."""
    if first is None and second is None:
        return None
    if not isinstance(first, dict) or not isinstance(second, dict):
        return UNKNOWN
    if "tensor" in first and "tensor" in second:
        if first["dtype"] != second["dtype"] or len(first["tensor"]) != len(second["tensor"]):
            return UNKNOWN
        dims = [fit_dim(pair, combos) for pair in zip(first["tensor"], second["tensor"])]
        handed_on = {"from": first["from"]} if "from" in first and first["from"] == second.get("from") else {}
        return UNKNOWN if None in dims else {"tensor": dims, "dtype": first["dtype"], **handed_on}
    if set(first) != set(second):
        return UNKNOWN
    if "mapping" in first:
        if list(first["mapping"]) != list(second["mapping"]) or first["class"] != second["class"]:
            return UNKNOWN
        items = {k: fit(v, second["mapping"][k], combos) for k, v in first["mapping"].items()}
        return {"mapping": items, "class": first["class"]}
    for kind in ("tuple", "list"):
        if kind in first:
            if len(first[kind]) != len(second[kind]):
                return UNKNOWN
            return {kind: [fit(a, b, combos) for a, b in zip(first[kind], second[kind])]}
    return first if first == second and first != UNKNOWN else UNKNOWN


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
        return make(spec["tensor"], getattr(torch, spec["dtype"]))
    if "value" in spec:
        return spec["value"]
    if "mapping" in spec:
        items = {k: build(v, make, arguments) for k, v in spec["mapping"].items()}
        return items if spec["class"] == "dict" else _transformers_class(spec["class"])(**items)
    if "unknown" in spec:
        raise ValueError("an output that cannot be made again")
    kind = tuple if "tuple" in spec else list
    return kind(build(part, make, arguments) for part in spec[kind.__name__])


def _transformers_class(path: str) -> Any:
    """The output class at a dotted path; only transformers' own classes are ever imported from a plan."""
    module, _, name = path.rpartition(".")
    if not module.startswith("transformers."):
        raise ValueError(f"refusing to import {path!r} from a plan")
    return getattr(importlib.import_module(module), name)


def part(spec: Any, which: int | str | None) -> tuple[int | str | None, Any]:
    """(key, tensor description) of the tensor that `which` means; (which, None) when it is no tensor."""
    if not isinstance(spec, dict):
        return which, None
    if "tensor" in spec:
        return (None, spec) if which in (None, 0) else (which, None)
    entries = spec.get("mapping") or dict(enumerate(spec.get("tuple") or spec.get("list") or []))
    if which is None:
        which = next((k for k, v in entries.items() if isinstance(v, dict) and "tensor" in v), None)
    elif "mapping" in spec and isinstance(which, int):
        which = list(entries)[which] if which < len(entries) else None
    found = entries.get(which)
    return which, found if isinstance(found, dict) and "tensor" in found else None


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
