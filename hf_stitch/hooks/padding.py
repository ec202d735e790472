"""How a model takes samples of unequal length together, so that each answers as it does alone.

Most models need the attention mask for that and nothing else. Those that count positions from the first token need
position ids where padding comes before a text. And some let padding into what is real whatever they are told, by norms
over time, convolutions or pooling: they run on equal lengths only, or on one sample at a time.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hf_stitch.hooks.arguments import arguments_of
from hf_stitch.hooks.capture import capture
from hf_stitch.hooks.masks import input_mask_of, timestep_mask
from hf_stitch.hooks.points import HookPoint, uncompiled

MASK = "attention_mask"
POSITIONS = "position_ids"
Mode = Literal["mask", "positions", "equal", "single"]
MODES: tuple[Mode, ...] = ("mask", "positions", "equal", "single")
"""What a padded batch needs, the least first: its mask, position ids too, equal lengths, or no batch at all."""
Side = Literal["right", "left"]
SIDES: tuple[Side, Side] = ("right", "left")


@dataclass(frozen=True)
class Part:
    """Samples of a batch that run together: their numbers, and the positions [start, stop) of the batch they take."""

    rows: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True)
class Pass:
    """One forward pass: the part of the batch that runs in it, its inputs, and the mask of those (b, length)."""

    part: Part
    inputs: dict[str, Any]
    mask: Tensor | None


@dataclass(frozen=True)
class Padding:
    """What a model needs to take padded batches; see `Mode`.

    Attributes:
        right, left: where padding comes behind the real positions, or before them.
        generate: where it generates from padded prompts.
        first: the position id of the first real position.
        why: what a padded batch did to it otherwise, where it cannot take one.
        random: how far two equal runs differ, of a model that draws random numbers; else 0.
    """

    right: Mode = "mask"
    left: Mode = "mask"
    generate: Mode = "mask"
    first: int = 0
    why: str = ""
    random: float = 0.0

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Padding:
        """Of saved data. Raises TypeError or ValueError where those are damaged."""
        made = cls(**content)
        wrong = [mode for mode in (made.right, made.left, made.generate) if mode not in MODES]
        if wrong:
            raise ValueError(f"padding: expected one of {', '.join(MODES)}; got {wrong[0]!r}")
        return dataclasses.replace(made, first=int(made.first), why=str(made.why), random=float(made.random))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able data, without what is as in most models."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        }

    @property
    def needs_nothing(self) -> bool:
        """Whether masks do for any batch."""
        return self.right == self.left == "mask"

    def on(self, side: str) -> Mode:
        """What batches padded on a side need."""
        return self.left if side == "left" else self.right

    def for_generation(self) -> Padding:
        """The same for a model that generates wherever it runs."""
        right, left = (max(self.on(side), self.generate, key=MODES.index) for side in SIDES)
        return dataclasses.replace(self, right=right, left=left)

    def or_worse(self, other: Padding) -> Padding:
        """What batches need that are of this kind or of another."""
        modes = {side: max(self.on(side), other.on(side), key=MODES.index) for side in SIDES}
        return dataclasses.replace(
            self,
            right=modes["right"],
            left=modes["left"],
            first=self.first or other.first,
            why=self.why or other.why,
            random=max(self.random, other.random),
        )

    def told(self, side: str) -> str | None:
        """What batches padded on a side cost, in words that follow the model's name; None where it is nothing."""
        return self._told(self.on(side))

    @property
    def told_of_chance(self) -> str:
        """What a random model means to a user, in words that follow its name."""
        return (
            f"is random by itself: two equal runs differ by {100 * self.random:.2g} %, so no answer of it can be had "
            "twice; see its configuration for a seed or an exact form"
        )

    def told_of_parts(self) -> str:
        """How a model runs whose batch had to be run in parts."""
        return self._told(max(self.right, self.left, self.generate, key=MODES.index)) or "runs as it is"

    def _told(self, mode: Mode) -> str | None:
        if mode in ("equal", "single"):
            return f"runs one {'length' if mode == 'equal' else 'sample'} at a time because {self.why}"
        return None

    def mode(self, mask: Tensor | None, batch: int) -> Mode:
        """What one batch needs."""
        if self.needs_nothing:
            return "mask"
        needed: list[Mode] = ["mask"]
        if batch > 1 and "single" in (self.right, self.left):
            needed.append("single")
        if mask is not None and not bool(mask.all()):
            real = mask.bool()
            needed += [self.left] if not bool(real[:, 0].all()) else []
            needed += [self.right] if not bool(real[:, -1].all()) else []
        return max(needed, key=MODES.index)

    def parts(self, mask: Tensor | None, batch: int, mode: Mode | None = None) -> list[Part] | None:
        """The parts in which a batch runs; None where it runs as it is."""
        mode = mode or self.mode(mask, batch)
        if mode not in ("equal", "single"):
            return None
        spans = [(0, 0)] * batch if mask is None else _real(mask)
        groups: dict[Any, list[int]] = {}
        for i, span in enumerate(spans):
            groups.setdefault((span, i if mode == "single" else 0), []).append(i)
        return [Part(tuple(rows), start, stop) for ((start, stop), _), rows in groups.items()]

    def positions(self, mask: Tensor) -> Tensor:
        """(b, t) int64 position ids, counted from the first real position of each row."""
        return (mask.long().cumsum(1) - 1).clamp(min=0) + self.first

    def passes(self, model: nn.Module, inputs: Mapping[str, Any]) -> list[Pass]:
        """The forward passes in which a prepared batch is run, so that each sample answers as it does alone."""
        mask = inputs.get(MASK)
        batch = next((len(value) for value in inputs.values() if isinstance(value, Tensor) and value.ndim), 1)
        mode, taken = self.mode(mask, batch), dict(inputs)
        if mask is not None and not takes(model, MASK):
            del taken[MASK]  # of models that read every position alike, such as FNet
        parts = self.parts(mask, batch, mode)
        if parts is None:
            if mode == "positions" and mask is not None and taken.get(POSITIONS) is None:
                taken[POSITIONS] = self.positions(mask)
            return [Pass(Part(tuple(range(batch)), 0, 0), taken, mask)]
        return [_cut(taken, mask, part, batch) for part in parts]


NEEDS_MASK = Padding()


def takes(model: nn.Module, name: str) -> bool:
    """Whether a model's forward takes an argument, itself or handed on to the model inside it."""
    model = uncompiled(model)
    accepted = arguments_of(model)
    if name in accepted:
        return True
    inner = getattr(model, "base_model", model)
    handed_on = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in accepted.values())
    return handed_on and inner is not model and takes(inner, name)


def captured(
    model: Any, points: Sequence[HookPoint], inputs: Mapping[str, Any], padding: Padding
) -> tuple[list[Tensor], Tensor]:
    """Activations (b, t, m) at some hook points as `capture` gives them, each sample's as alone, and their mask (b, t).

    Raises:
        HookError: as `capture` and `timestep_mask`.
    """
    seen = []
    for one in padding.passes(model, inputs):
        found = capture(model, points, one.inputs)
        given = input_mask_of({MASK: one.mask} | one.inputs, model.main_input_name, points[0])
        seen.append((one.part, found, timestep_mask(model, given, found[0], points[0])))
    if len(seen) == 1:
        return seen[0][1], seen[0][2]
    mask = inputs.get(MASK)
    batch, length = sum(len(part.rows) for part, _, _ in seen), None if mask is None else mask.shape[1]
    values = [
        together([(part, found[number]) for part, found, _ in seen], batch, length) for number in range(len(points))
    ]
    return values, together([(part, real) for part, _, real in seen], batch, length)


def together(found: Sequence[tuple[Part, Tensor]], batch: int, length: int | None) -> Tensor:
    """Tensors (rows, t, ...) of the parts of a batch as one (b, t, ...); zero where nothing is.

    What has the length of its part stands where that was in the batch of `length` positions, all else at the front.
    """
    first = found[0][1]
    if first.ndim < 2:
        return _empty(first, (batch,)).index_copy_(0, _numbers(found), torch.cat([value for _, value in found]))
    # (b, k) is a row a sample, unless it is a mask, or grows with the parts as the logits of places in a text do.
    along = first.ndim > 2 or first.dtype == torch.bool or len({value.shape[1] for _, value in found}) > 1
    placed = along and length is not None and all(value.shape[1] == part.stop - part.start for part, value in found)
    width = length if placed and length else max(value.shape[1] for _, value in found)
    whole = _empty(first, (batch, width, *first.shape[2:]))
    for part, value in found:
        start = part.start if placed else 0
        whole[list(part.rows), start : start + value.shape[1]] = value
    return whole


def rows_of(value: Any, rows: Sequence[int], batch: int) -> Any:
    """What a part of a batch is given of an argument: its rows, of outputs and lists those of their members."""
    if isinstance(value, Tensor):
        return value[list(rows)] if value.ndim and len(value) == batch else value
    if isinstance(value, Mapping):
        kept = {key: rows_of(one, rows, batch) for key, one in value.items()}
        return type(value)(**kept) if dataclasses.is_dataclass(value) else kept
    if isinstance(value, tuple | list):
        return type(value)(rows_of(one, rows, batch) for one in value)
    return value


def _cut(inputs: Mapping[str, Any], mask: Tensor | None, part: Part, batch: int) -> Pass:
    """Inputs of a part without its padding."""
    own = {key: rows_of(value, part.rows, batch) for key, value in inputs.items()}
    if mask is None:
        return Pass(part, own, None)
    own_mask, length = mask[list(part.rows)], mask.shape[1]
    if part.stop - part.start == length:
        return Pass(part, own, own_mask)
    shorter = {
        key: _along(value, part, length) for key, value in own.items() if key != MASK and isinstance(value, Tensor)
    }
    if not any(shorter[key].shape != own[key].shape for key in shorter):  # windows of one size, and a mask of another
        return Pass(Part(part.rows, 0, length), own, own_mask)
    own_mask = own_mask[:, part.start : part.stop]
    return Pass(part, own | shorter | ({MASK: own_mask} if MASK in own else {}), own_mask)


def _along(value: Tensor, part: Part, length: int) -> Tensor:
    for axis in (1, 2):  # (b, t, ...), or features before time
        if value.ndim > axis and value.shape[axis] == length:
            return value.narrow(axis, part.start, part.stop - part.start)
    return value


def _real(mask: Tensor) -> list[tuple[int, int]]:
    """From which position to which each row (b, t) is real; a row without any keeps its first."""
    real, length = mask.bool().int(), mask.shape[1]
    start, behind = real.argmax(1), real.flip(1).argmax(1)
    empty = ~mask.bool().any(1)
    stop = torch.where(empty, 1, length - behind)
    return list(zip(start.tolist(), stop.tolist()))


def _numbers(found: Sequence[tuple[Part, Tensor]]) -> Tensor:
    return torch.tensor([i for part, _ in found for i in part.rows], device=found[0][1].device)


def _empty(like: Tensor, shape: Sequence[int]) -> Tensor:
    return like.new_zeros(tuple(shape))


def is_loss(name: str, names: Collection[str] = ("labels", "start_positions", "end_positions")) -> bool:
    """Whether an argument asks for a loss."""
    return name in names or name.endswith("_labels")
