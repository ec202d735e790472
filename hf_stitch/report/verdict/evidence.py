"""What verdicts are made of: the limits of measures, and numbers in words."""

from __future__ import annotations

import math
from collections.abc import Callable

from hf_stitch.report.measure import Measure

Lookup = Callable[[str, str], Measure | None]
"""The measure of a name and a method on the split that is judged, None where it is not known."""


def middle(measure: Measure) -> float:
    return math.nan if measure.value is None else measure.value


def low(measure: Measure) -> float:
    """The lower limit; the value itself where nothing is random."""
    return middle(measure) if measure.low is None else measure.low


def high(measure: Measure) -> float:
    return middle(measure) if measure.high is None else measure.high


def percent(share: float | None) -> str:
    return "n/a" if share is None else f"{100 * share:.1f} %"


def points(share: float) -> str:
    return f"{100 * share:.1f}"


def span(measure: Measure, write: Callable[[float | None], str] | None = None) -> str:
    if measure.low is None or measure.high is None:
        return ""
    if write is not None:
        return f" [{100 * measure.low:.1f}, {100 * measure.high:.1f}]"
    return f" [{measure.write(measure.low)}, {measure.write(measure.high)}]"


def join(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + ", and " + parts[-1]


def lost_to_cascade(behind: Measure | None) -> list[str]:
    """The fault of a method that the cascade surely beats; `behind` is the method minus the cascade."""
    if behind is None or behind.high is None or behind.high >= 0:
        return []
    return [f"the cascade is better on the same samples by {points(-middle(behind))} points"]


def beside_cascade(behind: Measure | None) -> list[str]:
    """How a method that holds stands to the cascade."""
    if behind is None or behind.low is None:
        return []
    word = "better than the cascade" if behind.low > 0 else "not distinguishable from the cascade"
    return [f"it is {word} on the same samples"]


def appended(parts: list[str]) -> str:
    return "; " + " and ".join(parts) if parts else ""
