"""One measured number with its interval, and how to find and write it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import ConfigDict, field_validator
from pydantic.dataclasses import dataclass

from hf_stitch.recipe.side import Direction

REFERENCES = ("target", "cascade", "majority", "source", "nearest", "nearest-pair", "other-sample")
"""Methods of a report that are no stitching layers but what one is compared with."""

STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=STRICT)
class Measure:
    """One number: which, of which method (a recipe's label or one of `REFERENCES`), on what, and how sure.

    `low` and `high` are the ends of the 95 % interval, null only where nothing is random. `better` says which way is
    good; it is null for a number that is neither.
    """

    name: str
    method: str
    split: str = "test"
    direction: Direction = "forward"
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    better: Literal["higher", "lower"] | None = "higher"

    @field_validator("value", "low", "high", mode="before")
    @classmethod
    def _finite(cls, number: Any) -> Any:
        """Numpy and torch scalars become Python floats, what is not finite becomes null."""
        if number is None or isinstance(number, str | bool):
            return number
        return float(number) if math.isfinite(number) else None

    def write(self, value: float | None) -> str:
        """A number of this measure as text: errors, where lower is better, to three significant digits."""
        return number(value, significant=self.better == "lower")

    @property
    def where(self) -> str:
        """The measure in words, for notes and errors."""
        return f"{self.name} of {self.method} on {self.split} ({self.direction})"


def find(
    measures: Iterable[Measure], name: str, method: str | None, split: str = "test", direction: str = "forward"
) -> Measure | None:
    """The measure of that name, method, split and direction, or None."""
    wanted = (name, method, split, direction)
    return next((m for m in measures if (m.name, m.method, m.split, m.direction) == wanted), None)


def number(value: float | None, significant: bool = True) -> str:
    """A number as people read it: three significant digits, or three decimals where only the size beside 1 matters."""
    if value is None:
        return "n/a"
    if not significant and abs(value) < 1e5:
        return f"{round(value, 3) + 0.0:.3f}"
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return "0" if value == 0 else f"{value:#.3g}".rstrip(".") if abs(value) < 1000 else f"{value:.0f}"
    return f"{value:.2e}"
