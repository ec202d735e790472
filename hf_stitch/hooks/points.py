"""Where to look in a model: a hook point, and the shape its activations have there."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from hf_stitch.errors import HookError, nearest

Layout = Literal["batch_first", "time_first", "channels_first", "flat"]
_LISTS = ("features", "lengths")


@dataclass(frozen=True)
class HookPoint:
    """One activation of a model, made by `probe`.

    Attributes:
        module: dotted name of the module whose output is meant. A module that runs several times in one pass (ALBERT's
            shared layers) is followed by # and the number of the call, counted from 0 as layers are: `layers.0#3`.
        output: which tensor of that output: None (it is a tensor), an index of a tuple, a key of a ModelOutput.
        layout: "batch_first" (b, t, m), "time_first" (t, b, m), "channels_first" (b, m, t), "flat" (b, m).
        width: m, the number of all features there.
        features: the selected features in order, or None for all of them.
        lengths: (a, c, d) where an input whose mask has n places has (a * n + c) // d positions here, see
            `hf_stitch.hooks.position_lengths`; None where they are as many, or the model itself says how many.
    """

    module: str
    output: int | str | None
    layout: Layout
    width: int
    features: tuple[int, ...] | None = None
    lengths: tuple[int, int, int] | None = None

    @property
    def name(self) -> str:
        """The module's name without the number of the call."""
        return split_call(self.module)[0]

    @property
    def call(self) -> int:
        """Which call of the module in one pass is meant, from 0."""
        return split_call(self.module)[1] or 0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data; `from_dict` is its inverse."""
        lists = {key: None if value is None else list(value) for key, value in asdict(self).items() if key in _LISTS}
        plain = asdict(self) | lists
        if self.lengths is None:
            del plain["lengths"]  # points of before have none: their digests stay
        return plain

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> HookPoint:
        """Read what `to_dict` wrote.

        Raises:
            HookError: a key is missing or unknown, or the layout is not one of the four.
        """
        known = set(cls.__dataclass_fields__) - {"lengths"}
        if set(data) - {"lengths"} != known:
            raise HookError(f"a hook point has the keys {sorted(known)}; got {sorted(data)}")
        if data["layout"] not in get_args(Layout):
            raise HookError(f"unknown layout {data['layout']!r}; {nearest(str(data['layout']), get_args(Layout))}")
        return cls(**{**data, **{key: tuple(data[key]) for key in _LISTS if data.get(key) is not None}})


def uncompiled(model: nn.Module) -> nn.Module:
    """The plain model behind torch.compile: a hook added after its first compiled call would silently do nothing."""
    # Dynamo guards no hooks of modules (`skip_nnmodule_hook_guards`), so it goes on with the code that it made before.
    return getattr(model, "_orig_mod", model)


def like(model: nn.Module) -> Tensor:
    """A tensor without numbers, where a model is and of its floating dtype.

    A cut model may have no parameter left, such as a suffix that starts at the answer: the CPU and float32 then.
    """
    known = list(model.parameters())
    device = known[0].device if known else torch.device("cpu")
    dtype = next((p.dtype for p in known if p.is_floating_point()), torch.float32)
    return torch.zeros(0, device=device, dtype=dtype)


def split_call(name: str) -> tuple[str, int | None]:
    """`layers.0#3` is ("layers.0", 3); without a number the call is None.

    Raises:
        HookError: what follows # is no number.
    """
    module, mark, number = name.partition("#")
    if mark and not number.isdecimal():
        raise HookError(f"hook {name!r}: after # comes the number of a call, counted from 0, as in {module}#0")
    return module, int(number) if mark else None


def resolve(model: nn.Module, name: str) -> nn.Module:
    """The submodule called `name`, with or without the number of a call.

    Raises:
        HookError: there is none; the message names the nearest real ones.
    """
    name = split_call(name)[0]
    modules = dict(model.named_modules(remove_duplicate=False))
    if not name or name not in modules:
        known = [key for key in modules if key]
        raise HookError(f"{type(model).__name__} has no module {name!r}; {nearest(name, known)}")
    return modules[name]


def canonical(model: nn.Module, name: str) -> str:
    """The first name under which the module called `name` is registered (shared ones have several), with its call."""
    module, (_, number) = resolve(model, name), split_call(name)
    found = next(key for key, value in model.named_modules() if value is module)
    return found if number is None else f"{found}#{number}"


def select_features(spec: str | Mapping[str, int] | Sequence[int] | None, width: int) -> tuple[int, ...] | None:
    """Feature indices from their recipe form: "all", {"every": k} or a list of indices.

    Returns:
        The indices in the order given, or None for all.

    Raises:
        HookError: an unknown form, an index outside 0..width-1 or named twice, or k < 1.
    """
    if spec is None or spec == "all":
        return None
    if isinstance(spec, Mapping):
        step = spec.get("every")
        if set(spec) != {"every"} or not isinstance(step, int) or isinstance(step, bool) or not 1 <= step <= width:
            raise HookError(f"features takes {{every: k}} with k in 1..{width}; got {dict(spec)}")
        return None if step == 1 else tuple(range(0, width, step))
    if isinstance(spec, str) or not all(isinstance(i, int) and not isinstance(i, bool) for i in spec):
        raise HookError(f"features takes all, {{every: k}} or a list of indices; got {spec!r}")
    chosen = tuple(spec)
    wrong = [i for i in chosen if not 0 <= i < width]
    if not chosen or wrong or len(set(chosen)) != len(chosen):
        cause = f"outside: {wrong[:5]}" if wrong else "named twice" if chosen else "none given"
        raise HookError(f"features must be distinct indices in 0..{width - 1} ({cause}); correct `features`")
    return chosen


def pick(output: Any, which: int | str | None) -> Tensor:
    """The tensor that `which` means in the output of a module."""
    if isinstance(output, Tensor):
        # 0 too: a layer that gave (h,) when the point was named may give h in another version of transformers
        found: Any = output if which in (None, 0) else None
    elif isinstance(output, Mapping):
        keys = list(output)
        key = first_tensor(output) if which is None else keys[which] if isinstance(which, int) else which
        found = output.get(key)
    elif isinstance(output, tuple | list):
        place = first_tensor(output) if which is None else which
        found = output[place] if isinstance(place, int) and place < len(output) else None
    else:
        found = None
    if not isinstance(found, Tensor):
        raise HookError(f"output {which!r} is no tensor of {describe(output)}; choose another `output`")
    return found


def put(output: Any, which: int | str | None, tensor: Tensor) -> Any:
    """A copy of `output` in which the tensor that `which` means is `tensor`."""
    if isinstance(output, Tensor):
        return tensor
    place: Any = first_tensor(output) if which is None else which
    if isinstance(output, Mapping):
        new: Any = copy.copy(output)  # a ModelOutput stays one: its users read attributes
        new[list(output)[place] if isinstance(place, int) else place] = tensor
        return new
    items = list(output)
    items[place] = tensor
    if hasattr(output, "_fields"):
        return type(output)(*items)
    return type(output)(items)


def first_tensor(output: Any) -> int | str | None:
    """Key or index of the first tensor, None when there is none."""
    pairs = output.items() if isinstance(output, Mapping) else enumerate(output)
    return next((key for key, value in pairs if isinstance(value, Tensor)), None)


def describe(output: Any) -> str:
    """A short description of a module's output for messages."""
    if isinstance(output, Tensor):
        return f"a tensor {tuple(output.shape)}"
    if isinstance(output, Mapping):
        return f"{type(output).__name__}({', '.join(output)})"
    if isinstance(output, tuple | list):
        return f"{type(output).__name__}({', '.join(type(x).__name__ for x in output)})"
    return type(output).__name__


def normalise(tensor: Tensor, layout: Layout) -> Tensor:
    """(b, t, m) view of a raw activation; more than one spatial axis is flattened into t."""
    if layout == "flat":
        return tensor.unsqueeze(1)
    if layout == "time_first":
        return tensor.transpose(0, 1)
    if layout == "channels_first":
        return tensor.flatten(2).transpose(1, 2)
    return tensor.flatten(1, -2)


def denormalise(values: Tensor, layout: Layout, shape: Sequence[int]) -> Tensor:
    """A fresh raw activation of `shape` with the content of `values` (b, t, m).

    It is always a copy: some models write into it (Wav2Vec2 zeroes padded frames in place).

    Raises:
        HookError: the sizes do not fit.
    """
    want = normalise(torch.empty(tuple(shape), device="meta"), layout).shape
    if values.shape != want:
        raise HookError(f"the activation here is (b, t, m) = {tuple(want)}; got {tuple(values.shape)}")
    if layout == "time_first":
        values = values.transpose(0, 1)
    elif layout == "channels_first":
        values = values.transpose(1, 2)
    return values.reshape(tuple(shape)).clone(memory_format=torch.contiguous_format)
