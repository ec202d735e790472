"""How many positions a hook point has for an input of so many tokens, frames or samples, found by asking the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import gcd
from typing import Any

import torch
from torch import Tensor, nn

from hf_stitch.errors import HookError
from hf_stitch.hooks import symbolic_shapes
from hf_stitch.hooks.capture import capture
from hf_stitch.hooks.input_shapes import named
from hf_stitch.hooks.points import HookPoint
from hf_stitch.hooks.trace import COMBOS, UNSEEN, MakeInputs, ModelTrace, copied, quiet

WINDOW = (1, 0, 1)
"""Of models that pad their input to whole windows inside: the first n positions are those of its n tokens."""
# Names of a window's size in transformers' configurations: Longformer's and LED's, BigBird's, Reformer's.
_WINDOWS = ("attention_window", "block_size", "lsh_attn_chunk_length", "local_attn_chunk_length")
_LONGEST = 64  # of the lengths that are asked for, beside windows; by hand, a large model answers within a second
_MOST = 32  # the largest divisor that is looked for; by hand, CANINE has 4, LASR 4, Parakeet 8
_TIMES = (12, 1)  # windows beyond which is asked: BigBird attends to all tokens up to 11 of them

Formula = tuple[int, int, int]


def with_lengths(trace: ModelTrace, point: HookPoint, whole: nn.Module) -> HookPoint:
    """The hook point with its `lengths`, where masks are of another length than its positions.

    Args:
        trace: of a copy of the model, which runs some more times. whole: the model itself.

    Raises:
        HookError: the model pads its input inside, but not behind it.
    """
    places = [_places(inputs) for inputs in trace.inputs]
    per_step = symbolic_shapes.fit_dim((places[0] or 0, places[1] or 0), COMBOS)
    if point.layout == "flat" or None in places or not isinstance(per_step, list) or per_step[0]:
        return point  # no mask, or one for one length
    measured = _Measured(trace.model, point, trace.make_inputs)
    if per_step == [0, 1, 0]:
        return replace(point, lengths=_of_tokens(whole, measured))
    if all(length_by(trace.model, n or 0) == measured.at(t) for n, (_, t) in zip(places, (*COMBOS, UNSEEN))):
        return point
    return replace(point, lengths=measured.formula_of_sound(per_step))


def _of_tokens(whole: nn.Module, measured: _Measured) -> Formula | None:
    if _window(measured) or _long_window(whole, measured):
        return WINDOW
    found = measured.formula()
    if found is None or found == (1, 0, 1):
        return None
    slope, offset, divisor = found
    # Something may stand behind the padding, such as the picture of a text (ViLT): no count says where that is.
    behind = slope == divisor == 1 and offset > 0 and not _first(measured, COMBOS[0][1], COMBOS[1][1], found)
    return None if behind else found


def refuse_windows(trace: ModelTrace, point: HookPoint) -> None:
    """HookError where a model pads its input to whole windows inside: its second half cannot be started there.

    Args:
        trace: of a copy of the model, which runs some more times.
    """
    measured = _Measured(trace.model, point, trace.make_inputs)
    places = {_places(inputs) for inputs in trace.inputs}
    if None not in places and len(places) > 1 and _window(measured):
        raise HookError(
            f"{type(trace.model).__name__} pads its input to whole windows of {measured.at(COMBOS[0][1])} positions "
            f"inside, so that its second half cannot be started at {point.module}: it would not know which of them are "
            "real; make it the source, or choose another target"
        )


def length_by(model: Any, places: int) -> int | None:
    """Positions of an input of so many places by a model's own formula; None without one."""
    name = "_get_feat_extract_output_lengths"
    shorten = getattr(model, name, None) or getattr(getattr(model, "encoder", None), name, None)
    return None if shorten is None else int(shorten(torch.tensor(places)))


def positions_of(lengths: Formula, counts: Any) -> Any:
    """How many positions inputs of so many places have."""
    slope, offset, divisor = lengths
    return (slope * counts + offset) // divisor


def _places(inputs: dict[str, Any]) -> int | None:
    """How many places the mask of an input has; None of one that takes none."""
    main = next((value for value in inputs.values() if isinstance(value, Tensor)), None)
    tokens_or_sound = main is not None and main.ndim in (2, 3)
    return main.shape[1] if main is not None and tokens_or_sound else None


class _Measured:
    """Positions of a hook point by length, each asked for once."""

    def __init__(self, model: nn.Module, point: HookPoint, make: MakeInputs) -> None:
        self.model, self.point, self.make = model, point, make
        self.known: dict[int, int | None] = {}

    def at(self, length: int) -> int | None:
        """Positions at a length; None where the model does not run on it."""
        if length not in self.known:
            values = self.values(self.make(1, length))
            self.known[length] = None if values is None else values.shape[1]
        return self.known[length]

    def formula_of_sound(self, per_step: list[int]) -> Formula | None:
        """(1, c, d) for which n samples have (n + c) // d positions; None where there is none."""
        found = self.formula()
        samples = per_step[1]
        if found is None or found[0] == 0 or samples * found[2] % found[0]:
            return None if found is None or found[0] else found
        divisor = samples * found[2] // found[0]
        first = dict(self.make(1, UNSEEN[1]))
        main = next(key for key, value in first.items() if isinstance(value, Tensor))
        longest, low, high = first[main].shape[1], 1 - divisor * divisor, divisor * divisor
        asked = longest
        while low < high:  # halved each time
            values = self.values({**first, main: first[main][:, :asked]})
            if values is None:
                return None
            seen = values.shape[1] * divisor - asked
            low, high = max(low, seen), min(high, seen + divisor - 1)
            middle = (low + high) // 2
            # from this length on offsets above the middle have one position more
            asked = longest - (longest + middle + 1) % divisor
        return (1, low, divisor) if low == high else None

    def values(self, inputs: Any) -> Tensor | None:
        try:
            with quiet(self.model):
                return capture(self.model, [self.point], inputs)[0]
        except Exception:  # too short or too long for it, which each model says in its own way
            return None

    def formula(self) -> Formula | None:
        """The plainest (a, c, d) for which a length t has (a * t + c) // d positions; None where there is none."""
        left = list(_formulas([(t, n) for t in (COMBOS[0][1], COMBOS[1][1], UNSEEN[1]) if (n := self.at(t))]))
        for length in range(1, _LONGEST + 1):
            if len({positions_of(one, length) for one in left}) > 1 and (seen := self.at(length)) is not None:
                left = [one for one in left if positions_of(one, length) == seen]
        return left[0] if left else None


def _formulas(seen: list[tuple[int, int]]) -> Iterator[Formula]:
    """All formulas that give what was seen, plain ones first."""
    if len({positions for _, positions in seen}) == 1:
        yield 0, seen[0][1], 1
    for divisor in range(1, _MOST + 1):
        for slope in range(1, 5):
            if gcd(slope, divisor) > 1:
                continue
            ranges = [(n * divisor - slope * t, n * divisor - slope * t + divisor - 1) for t, n in seen]
            for offset in range(max(low for low, _ in ranges), min(high for _, high in ranges) + 1):
                yield slope, offset, divisor


def _window(measured: _Measured) -> bool:
    """Whether a model pads short inputs to a whole window.

    Raises:
        HookError: not behind the input.
    """
    (positions, *others) = {measured.at(length) for _, length in (*COMBOS, UNSEEN)}
    if others or positions is None or positions <= COMBOS[1][1]:
        return False
    longer, window = measured.at(positions + 1), _largest(measured.model)
    # Where no longer input is taken the configuration tells a window from a number that never changes (Perceiver's).
    if longer == positions or (longer is None and (not window or positions % window)):
        return False
    return _checked(measured, COMBOS[0][1])


def _long_window(whole: nn.Module, measured: _Measured) -> bool:
    """Whether a model whose configuration names a window pads long inputs to whole ones.

    Raises:
        HookError: not behind the input.
    """
    largest = _largest(whole)
    if not largest:
        return False
    # A copy that has seen nothing shorter: BigBird gives its blocks up for good when it does.
    fresh = _Measured(copied(whole).eval(), measured.point, measured.make)
    found = (length for length in (largest * times + 1 for times in _TIMES) if (fresh.at(length) or 0) > length)
    length = next(found, None)
    return length is not None and _checked(fresh, length)


def _largest(model: nn.Module) -> int:
    """The window that a configuration names, 0 without one."""
    sizes = named(getattr(model, "config", None), _WINDOWS)
    flat: Iterable[Any] = sizes if isinstance(sizes, list | tuple) else [sizes]
    return max((size for size in flat if isinstance(size, int)), default=0)


def _checked(measured: _Measured, length: int) -> bool:
    if not _behind(measured, length):
        raise HookError(
            f"{type(measured.model).__name__} pads its input to whole windows, and not behind it, so that nobody can "
            f"tell which positions of {measured.point.module} are real; hook another model"
        )
    return True


def _behind(measured: _Measured, length: int) -> bool:
    """Whether the positions of an input's tokens come first, before those of the padding that a model adds."""
    whole = measured.at(length)
    return whole is not None and _first(measured, length, whole, WINDOW)


def _first(measured: _Measured, length: int, whole: int, lengths: Formula) -> bool:
    """Whether the positions of an input that is padded to a length come first, and are as they are alone."""
    inputs = dict(measured.make(1, length))
    main = next(key for key, value in inputs.items() if isinstance(value, Tensor))
    pad = getattr(measured.model.config, "pad_token_id", None) or 0
    longer = torch.nn.functional.pad(inputs[main], (0, whole - length), value=pad)
    mask = (torch.arange(whole, device=longer.device) < length).long()[None]
    alone, ours = measured.values(inputs), measured.values({**inputs, main: longer, "attention_mask": mask})
    real = positions_of(lengths, length)
    # 1e-4: other sums, no other positions
    return alone is not None and ours is not None and torch.allclose(alone[:, :real], ours[:, :real], 1e-4, 1e-4)
