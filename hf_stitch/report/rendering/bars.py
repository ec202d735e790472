"""Measures as bars: where a number, its interval and the references beside it lie, in percent of the width."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hf_stitch.report import catalogue
from hf_stitch.report.measure import Measure, find


@dataclass(frozen=True)
class Scale:
    """Where numbers lie on a bar, in percent of its width."""

    low: float
    high: float
    logarithmic: bool = False

    @classmethod
    def around(cls, measures: Sequence[Measure], kind: str) -> Scale:
        """The scale of measures of one name: fixed for shares, else wide enough for all intervals and ranges."""
        ends = [end for m in measures for end in (m.value, *_ends(m)) if end is not None]
        if kind == "share":
            return cls(0.0, 1.0)
        if kind == "signed":
            # By hand: tiny differences must not look large for want of larger ones.
            widest = max([0.05, *(abs(end) for end in ends)]) * 1.1
            differences = all("_minus_" in m.name or m.name.endswith("_difference") for m in measures)
            return cls(-widest, widest) if differences else cls(min([-0.1, *ends]), 1.0)
        positive = [end for end in ends if end > 0]
        # By hand: on a linear scale the smaller ones would all lie at 0.
        if positive and max(positive) > 30 * min(positive):
            return cls(10 ** math.floor(math.log10(min(positive))), 10 ** math.ceil(math.log10(max(positive))), True)
        return cls(0.0, max([*ends, 1e-12]) * 1.1)

    def at(self, value: float) -> float:
        """Position of a value, held within the bar."""
        if self.logarithmic:
            # An interval may reach 0, which has no place on a logarithmic scale.
            value = max(value, self.low)
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return round(100 * min(max(share, 0.0), 1.0), 2)

    def __str__(self) -> str:
        name = "logarithmic, " if self.logarithmic else ""
        return f"{name}{self.low:.3g} to {self.high:.3g}"


@dataclass(frozen=True)
class BarCell:
    """A measure drawn: positions in percent, and those of the references beside it."""

    measure: Measure
    point: float | None
    left: float
    width: float
    zero: float | None
    marks: list[tuple[str, float]]

    @classmethod
    def of(cls, m: Measure, scale: Scale, marks: list[tuple[str, float]]) -> BarCell:
        point = None if m.value is None else scale.at(m.value)
        left, right = (point or 0.0 if end is None else scale.at(end) for end in _ends(m))
        zero = scale.at(0.0) if scale.low < 0 < scale.high else None
        return cls(m, point, left, round(right - left, 2), zero, marks)


def _ends(m: Measure) -> tuple[float | None, float | None]:
    """What is drawn about a value: its interval, of a group's number the range of the members."""
    return (m.low, m.high) if m.range is None else m.range


def marks(measures: Sequence[Measure], m: Measure, scale: Scale) -> list[tuple[str, float]]:
    """Positions of the references' values of the same name and split, on the bar of another method."""
    beside = (
        (reference, find(list(measures), m.name, reference, m.split, m.direction)) for reference in catalogue.REFERENCES
    )
    return [
        (reference, scale.at(other.value))
        for reference, other in beside
        if other is not None and other.value is not None and reference != m.method
    ]
