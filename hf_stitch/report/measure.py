"""One measured number with its interval, and how to find and write it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Literal

from pydantic import ConfigDict, field_validator
from pydantic.dataclasses import dataclass

from hf_stitch.recipe.side import Direction

STRICT = ConfigDict(extra="forbid")  # a field that nobody reads would be lost in silence


@dataclass(frozen=True, config=STRICT)
class Measure:
    """One number: which, of which method (a recipe's label or one of `catalogue.REFERENCES`), on what, and how sure.

    `low` and `high` are the ends of the 95 % interval, null only where nothing is random. `better` says which way is
    good; it is null for a number that is neither. `range_low` and `range_high` are the least and the greatest of the
    `n` members of a group, where the number is one of a group; such a number has no interval.
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
    range_low: float | None = None
    range_high: float | None = None

    @field_validator("value", "low", "high", "range_low", "range_high", mode="before")
    @classmethod
    def _finite(cls, number: Any) -> Any:
        """Numpy and torch scalars become Python floats, what is not finite becomes null."""
        if number is None or isinstance(number, str | bool):
            return number
        # JSON has no NaN.
        return float(number) if math.isfinite(number) else None

    def write(self, value: float | None) -> str:
        """A number of this measure as text: errors, where lower is better, to three significant digits."""
        return number(value, significant=self.better == "lower")

    @property
    def interval(self) -> tuple[float, float] | None:
        """The ends of the 95 % interval, where both are known."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    @property
    def range(self) -> tuple[float, float] | None:
        """Least and greatest of a group's members, of a number of a group."""
        return None if self.range_low is None or self.range_high is None else (self.range_low, self.range_high)

    def spread(self, write: Callable[[float], str] | None = None) -> str:
        """`[low, high]`, the 95 % interval, or `(low to high over n)`, the range of n members; "" where neither is."""
        write = write or self.write
        if self.range is not None:
            return f"({write(self.range[0])} to {write(self.range[1])} over {self.n})"
        return "" if self.interval is None else f"[{write(self.interval[0])}, {write(self.interval[1])}]"

    def written(self, write: Callable[[float | None], str] | None = None) -> str:
        """The value and its spread."""
        return f"{(write or self.write)(self.value)} {self.spread(write)}".rstrip()

    def to_plain(self) -> dict[str, Any]:
        """JSON data; the range is left out where there is none."""
        plain = dataclasses.asdict(self)
        absent = [name for name in ("range_low", "range_high") if plain[name] is None]
        return {name: value for name, value in plain.items() if name not in absent}

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


def ranges_apart(measures: Iterable[Any], fitted: Collection[str] = ()) -> list[Any]:
    """Measures as JSON data in which ranges of groups are ranges: reports once held them as `low` and `high`.

    Args:
        fitted: labels of fitted methods; one that is itself called `group/median` has an interval.
    """
    return [_range_apart(m) if _of_group(m, fitted) else m for m in measures]


def _of_group(plain: Any, fitted: Collection[str]) -> bool:
    """Whether a measure without a range is of a group: a median of its members, or that of a group over another's."""
    if not isinstance(plain, Mapping) or "range_low" in plain:
        return False
    method = str(plain.get("method"))
    return plain.get("name") == "misalignment_ratio" or (method.endswith("/median") and method not in fitted)


def _range_apart(plain: Mapping[str, Any]) -> dict[str, Any]:
    ends = {"range_low": plain.get("low"), "range_high": plain.get("high")}
    known = {name: end for name, end in ends.items() if end is not None}
    return {**plain, "low": None, "high": None, **known} if known else dict(plain)


def number(value: float | None, significant: bool = True) -> str:
    """A number as people read it: three significant digits, or three decimals where only the size beside 1 matters."""
    if value is None:
        return "n/a"
    if not significant and abs(value) < 1e5:
        # + 0.0: a difference that rounds to 0 has no minus.
        return f"{round(value, 3) + 0.0:.3f}"
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return "0" if value == 0 else f"{value:#.3g}".rstrip(".") if abs(value) < 1000 else f"{value:.0f}"
    return f"{value:.2e}"
