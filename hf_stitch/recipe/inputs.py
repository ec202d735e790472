"""The part `inputs` of a side: what its model takes that neither its configuration nor its processor says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field, PositiveInt

from hf_stitch.recipe.part import Part

Axis = int | list[int]
"""A number, or [k, a, c] for b^k * (a * t + c), or [k, a, c, d] for b^k * ((a * t + c) // d)."""
_TIME = r"(\d*)\*?t([+-]\d+)?"
HOW = "a number, or a formula of b (batch) and t (tokens or frames) such as b, t, 2t+1, b*4, (t+1)//2"


class Input(Part):
    """One input of a model."""

    shape: list[int | str] = Field([], description=f"axes, each {HOW}")
    dtype: Literal["float32", "int64", "int32", "bool"] | None = Field(
        None, description="absent: that of value, int64 for names in ids, float32 for others"
    )
    value: bool | int | float | str | list[Any] | None = Field(
        None,
        description="what it is in every batch, one for all or a list along the last axes; absent: random in probes",
    )
    below: PositiveInt | None = Field(
        None, description="random whole numbers are smaller; absent: the vocabulary for names in ids, 2 for others"
    )

    def plain(self, name: str, vocabulary: int | None) -> dict[str, Any]:
        """Shape as formulas, and everything else with its defaults, of the input of this name."""
        of_tokens = vocabulary is not None and name.endswith("ids")
        return {
            "shape": [axis(one) for one in self.shape],
            "dtype": self.dtype or self._kind(name),
            "value": self.value,
            "below": self.below or (vocabulary if of_tokens else 2),
        }

    def _kind(self, name: str) -> str:
        kinds = {type(number) for number in _numbers(self.value)}
        if kinds <= {int} and (kinds or name.endswith("ids")):
            return "int64"
        return "bool" if kinds == {bool} else "float32"


def axis(word: int | str) -> Axis | None:
    """An axis as numbers; None where it is no formula."""
    if isinstance(word, int):
        return word if word > 0 else None
    text = word.replace(" ", "")
    power, rest = (1, text[2:]) if text.startswith("b*") else (0, text)
    if text == "b":
        return [1, 0, 1]
    if rest.isdecimal() and int(rest) > 0:
        return [power, 0, int(rest)] if power else int(rest)
    if found := re.fullmatch(rf"\(?{_TIME}\)?(?://([1-9]\d*))?", rest):
        slope, offset, divisor = found.groups()
        return [power, int(slope or 1), int(offset or 0), *([int(divisor)] if divisor else [])]
    return None


def check_inputs(inputs: Mapping[str, Input]) -> None:
    """ValueError where an input says too little, or its value does not fit its shape."""
    for name, one in inputs.items():
        wrong = [word for word in one.shape if axis(word) is None]
        if wrong:
            raise ValueError(f"`inputs.{name}.shape`: each axis is {HOW}; got {wrong[0]!r}")
        if one.value is None and not one.shape:
            raise ValueError(f"`inputs.{name}`: expected a `shape`, or a `value` that it always has; got neither")
        if not one.shape and (one.dtype or one.below):
            raise ValueError(f"`inputs.{name}`: dtype and below are of tensors; give its `shape` too")
        if one.shape and one.value is not None:
            _check_value(name, one)


def _check_value(name: str, one: Input) -> None:
    sizes, inner = [], one.value
    while isinstance(inner, list):
        sizes.append(len(inner))
        inner = inner[0] if inner else ""
    numbers = list(_numbers(one.value))
    if any(isinstance(number, str) for number in numbers):
        raise ValueError(f"`inputs.{name}.value`: a tensor holds numbers; got {str(one.value)[:40]!r}")
    ends = one.shape[len(one.shape) - len(sizes) :]
    count = 1
    for size in sizes:
        count *= size
    if len(sizes) > len(one.shape) or sizes != ends or len(numbers) != count:
        raise ValueError(
            f"`inputs.{name}.value`: a list has the last axes of the shape, {one.shape}; got one of {sizes}"
        )


def _numbers(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for one in value:
            yield from _numbers(one)
    elif value is not None:
        yield value
