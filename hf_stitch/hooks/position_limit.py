"""Activations of more positions than a model takes: they are cut to what it takes, and that is told.

How many a model takes is found from the model itself, whatever its family: tables of positions are constants of which a
pass reads further the longer its input is. Where such a table ends is a limit if the model really fails behind it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from hf_stitch.errors import HookError, StitchError
from hf_stitch.hooks import symbolic_shapes
from hf_stitch.hooks.suffix import growing, run_suffix

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")
Run = Callable[[Tensor, Tensor | None], Answer]
LENGTHS = (4, 6, 8)  # inputs by which tables of positions are found, by hand: shorter than any limit
LONGEST = 16_384  # a limit above this is not tried out: a pass of that length may take all memory; by hand
_TABLES = {  # operation -> place of table, axis and index among its arguments
    "aten::embedding": (0, None, 1),
    "aten::index_select": (0, 1, 2),
    "aten::gather": (0, 1, 2),
}


@dataclass(frozen=True)
class Cut:
    """One input that was cut: which of the batch, to how many positions it maps, and how many the target takes."""

    row: int
    came: int
    takes: int

    def __str__(self) -> str:
        return (
            f"it maps to {self.came} positions, the target takes {self.takes}, the rest is left out: "
            "give it in shorter pieces"
        )


def cut_samples(split: str, cuts: Collection[Cut], target: str) -> list[str]:
    """What is told of the samples of a split that were cut; nothing where none was."""
    if not cuts:
        return []
    takes = min(cut.takes for cut in cuts)
    what = f"samples map to more positions than the {takes} that {target} takes"
    return [f"{split}: {len(cuts)} {what}; the rest of them is left out"]


Told = Callable[[Cut], None]
_told: ContextVar[Told | None] = ContextVar("hf_stitch_cut", default=None)


@contextmanager
def telling(told: Told) -> Iterator[None]:
    """Inside, `told` hears of the inputs that are cut; elsewhere they are warnings of the log."""
    token = _told.set(told)
    try:
        yield
    finally:
        _told.reset(token)


def tell(cut: Cut, of: int) -> None:
    """Of an input that is cut, in a batch `of` so many: to whoever listens (`telling`), else to the log."""
    told = _told.get()
    if told is None:
        logger.warning("input %d of %d: %s", cut.row + 1, of, cut)
    else:
        told(cut)


@contextmanager
def among(rows: Sequence[int]) -> Iterator[None]:
    """Inside, what is told of the inputs of a part of a batch is told of their numbers `rows` in the batch."""
    told = _told.get()
    if told is None:
        yield
        return
    with telling(lambda cut: told(replace(cut, row=rows[cut.row]))):
        yield


def within_positions(
    model: nn.Module,
    plan: Mapping[str, Any],
    values: Tensor,
    mask: Tensor | None,
    run: Run[Answer],
    given: Mapping[str, Any] | None = None,
    reserved: int = 0,
) -> Answer:
    """What `run(values, mask)` gives of a cut model, on as many positions of each input as the model takes.

    Args:
        values: (b, t, m) at the hook point of the plan; mask: (b, t) bool, None for all.
        given: what the model needs beside them, see `run_suffix`.
        reserved: positions that are needed behind those of the input, for tokens that will be generated.

    Raises:
        HookError: more positions are reserved than the model has.
    """
    if values.device.type == "cpu":
        try:
            return run(values, mask)
        except (StitchError, MemoryError):
            raise
        except Exception:
            takes = position_limit(model, plan, values, given)
            if takes is None or values.shape[1] + reserved <= takes:
                raise
    else:  # to look behind the end of a table ends the process's use of a GPU
        known = model.__dict__.setdefault("_hf_stitch_positions", {})
        if "takes" not in known:
            known["takes"] = position_limit(model, plan, values, given)
        takes = known["takes"]
        if takes is None or values.shape[1] + reserved <= takes:
            return run(values, mask)
    if reserved >= takes:
        raise HookError(
            f"{reserved} new tokens are asked for of a model of {takes} positions; ask for fewer (max_new_tokens)"
        )
    return run(*_shortened(values, mask, takes - reserved))


def position_limit(
    model: nn.Module, plan: Mapping[str, Any], like: Tensor, given: Mapping[str, Any] | None = None
) -> int | None:
    """The most positions that a cut model takes at its hook point; None where nothing limits them.

    Args:
        like: (b, t, m), for batch, dtype and device. given: see `run_suffix`.
    """
    longer = growing(plan)
    if len(longer) != 1:
        return None  # a fixed number, which is asked for when it runs
    seen: list[dict[Any, tuple[int, int]]] = []
    counts = [symbolic_shapes.size(longer[0], 1, length) for length in LENGTHS]
    constants = {_place(tensor) for tensor in (*model.parameters(), *model.buffers()) if tensor.numel()}
    try:
        for count in counts:
            with _Watch(constants) as watch:
                _pass(model, plan, like, count, given)
            seen.append(watch.reached)
    except Exception:  # not even that: its own error says more
        return None
    for limit in sorted(_ends(counts, seen)):
        if limit > LONGEST or _fails(model, plan, like, limit + 1, given, constants):
            return limit if limit <= LONGEST else None
    return None


def _ends(counts: list[int], seen: list[dict[Any, tuple[int, int]]]) -> set[int]:
    """Where tables end of which each pass reads further by as much as it is longer."""
    found = set()
    for key in seen[0].keys() & seen[1].keys() & seen[2].keys():
        reached = [one[key][0] for one in seen]
        steps = {(b - a) / (n - m) for a, b, m, n in zip(reached, reached[1:], counts, counts[1:])}
        if len(steps) == 1 and (step := steps.pop()) >= 1:
            found.add(counts[0] + int((seen[0][key][1] - reached[0]) // step))
    return found


def _pass(model: nn.Module, plan: Mapping[str, Any], like: Tensor, count: int, given: Mapping[str, Any] | None) -> None:
    with torch.no_grad():
        run_suffix(model, plan, like.new_zeros(len(like), count, like.shape[2]), None, **(given or {}))


def _fails(
    model: nn.Module, plan: Mapping[str, Any], like: Tensor, count: int, given: Any, constants: Collection[int]
) -> bool:
    try:
        with _Watch(constants, guarded=True):
            _pass(model, plan, like, count, given)
    except Exception:
        return True
    return False


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


@dataclass
class _Watch(TorchDispatchMode):
    """How far into its constants a model looks: `{which look into which table: (reached, size)}`.

    Args:
        guarded: to look behind the end is refused before it is done.
    """

    constants: Collection[int]
    guarded: bool = False
    reached: dict[Any, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        look = self._look(func._schema.name, args)
        if look is not None:
            table, axis, reached = look
            if self.guarded and reached > table.shape[axis]:
                raise IndexError("behind the end of a table")
            key = (_place(table), axis, func._schema.name)
            number = sum(known[:3] == key for known in self.reached)
            self.reached[*key, number] = (reached, table.shape[axis])
        return func(*args, **(kwargs or {}))

    def _look(self, name: str, args: Any) -> tuple[Tensor, int, int] | None:
        """The table, its axis, and the number of entries of it up to the last that is read."""
        if name == "aten::slice":
            table, axis, _, end = (*args, *(0, 0, None, None)[len(args) :])[:4]
            if not self._constant(table) or end is None or end > 2**60:
                return None
            return table, axis, end if end >= 0 else table.shape[axis] + end
        if name == "aten::index":
            table, indices = args[0], args[1]
            places = [i for i, index in enumerate(indices) if index is not None]
            if not self._constant(table) or len(places) != 1 or indices[places[0]].dtype == torch.bool:
                return None
            return self._furthest(table, places[0], indices[places[0]])
        if name not in _TABLES or not self._constant(args[_TABLES[name][0]]):
            return None
        place, axis, index = _TABLES[name]
        return self._furthest(args[place], 0 if axis is None else args[axis], args[index])

    def _constant(self, table: Any) -> bool:
        return isinstance(table, Tensor) and table.ndim > 0 and _place(table) in self.constants

    def _furthest(self, table: Tensor, axis: int, index: Tensor) -> tuple[Tensor, int, int] | None:
        return (table, axis, int(index.max()) + 1) if index.numel() else None


def _shortened(values: Tensor, mask: Tensor | None, takes: int) -> tuple[Tensor, Tensor | None]:
    """The first positions of each input, on the side where they were, and told of the inputs that lost some."""
    length = values.shape[1]
    counts = [length] * len(values) if mask is None else mask.sum(1).tolist()
    for row, count in enumerate(counts):
        if count > takes:
            tell(Cut(row, int(count), takes), len(values))
    starts = [0] * len(values)
    if mask is not None and not bool(mask[:, 0].all()):  # padding on the left: what is short ends where all end
        starts = [length - max(int(count), takes) for count in counts]
    index = torch.tensor(starts, device=values.device)[:, None] + torch.arange(takes, device=values.device)
    rows = torch.arange(len(values), device=values.device)[:, None]
    return values[rows, index], None if mask is None else mask[rows, index]
