"""What verdicts are made of: the limits of measures, and numbers in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hf_stitch.report import catalogue
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


def in_percent(share: Measure) -> str:
    """A share and its interval in percent: `96.5 % [93.0, 98.3]`."""
    return f"{percent(share.value)} {share.spread(points)}".rstrip()


def join(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + ", and " + parts[-1]


def beside(get: Lookup, name: str, titles: Mapping[str, str]) -> list[str]:
    """What references reach, as `title 50.0 %` of each that was measured; `titles` by reference."""
    found = [(title, get(name, reference)) for reference, title in titles.items()]
    return [f"{title} {percent(m.value)}" for title, m in found if m is not None]


def penalty(get: Lookup, name: str, method: str) -> float | None:
    """Stitching penalty: how far the stitched model's score lies on the worse side of the target's own."""
    own, stitched = get(name, "target"), get(name, method)
    if own is None or stitched is None:
        return None
    lost = middle(own) - middle(stitched)
    return -lost if catalogue.MEASURES[name].scale == "error" else lost


def faults_beside(behind: Measure | None, lost: float | None, most: float, words: str) -> list[str]:
    """Faults of a method that the cascade surely beats, and of one that costs too much.

    Args:
        behind: the method minus the cascade.
        lost: the stitching penalty, of which `most` is still no fault.
        words: of what it costs, with `{}` for the points.
    """
    faults = []
    # Only where the whole interval lies below 0: chance alone must not make a fault.
    if behind is not None and behind.high is not None and behind.high < 0:
        faults.append(f"the cascade is better on the same samples by {points(-middle(behind))} points")
    if lost is not None and lost > most:
        faults.append(f"stitching {words.format(points(lost))}")
    return faults


def company(behind: Measure | None, lost: float | None, words: str, nothing: str) -> str:
    """How a method that holds stands to the cascade and to the target's own score; see `faults_beside`.

    Args:
        nothing: in place of `words` where there is no penalty.
    """
    parts = []
    if behind is not None and behind.low is not None:
        word = "better than the cascade" if behind.low > 0 else "not distinguishable from the cascade"
        parts.append(f"it is {word} on the same samples")
    if lost is not None:
        parts.append(f"stitching {words.format(points(lost)) if lost > 0 else nothing}")
    return "; " + " and ".join(parts) if parts else ""


def advice(method: str, asked: Mapping[str, Any], first: Sequence[str], cascade: Measure | None) -> str:
    """What to try next, without what the recipe does already.

    Args:
        first: what comes before the advice that all have in common.
        cascade: where it should be used instead, None where it is no better.
    """
    tries = ["more pairs (`data.fit.samples`)", *first]
    if asked.get("stitch", {}).get("landing") != "nearest" and not method.endswith("+nearest"):
        tries.append("`stitch.landing: nearest`")
    if "embed" not in str(asked.get("target", {}).get("hook")):
        tries.append("an earlier target hook")
    text = f"Try {', '.join(tries[:-1])}, or {tries[-1]}."
    return text if cascade is None else f"Use the cascade ({percent(cascade.value)}). {text}"
