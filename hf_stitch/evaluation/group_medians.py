"""What the members of `compare` entries named `group/member` reach: medians, minima, groups beside groups."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from statistics import median

from hf_stitch.report.measure import Measure

Key = tuple[str, str, str]  # name, split, direction


def group_measures(measures: Sequence[Measure]) -> list[Measure]:
    """Median and range of every measure as `group/median`; of the coordinates' correlation also the minimum, and how
    many times farther from 1 it is in a later group than in the first."""
    found: list[Measure] = []
    groups = _groups(measures)
    for group, keys in groups.items():
        for (name, *_), members in keys.items():
            values = sorted(m.value for m in members if m.value is not None)
            whole = dataclasses.replace(members[0], method=f"{group}/median", value=median(values), n=len(values))
            whole = dataclasses.replace(whole, low=None, high=None)  # not an interval: members are not drawn at random
            found.append(dataclasses.replace(whole, range_low=values[0], range_high=values[-1]))
            if name == "coordinate_correlation":
                found.append(dataclasses.replace(whole, method=f"{group}/minimum", value=values[0]))
    return found + _ratios(found)


def _groups(measures: Sequence[Measure]) -> dict[str, dict[Key, list[Measure]]]:
    """Members by group and measure, where there are at least two."""
    groups: dict[str, dict[Key, list[Measure]]] = {}
    for m in measures:
        if "/" in m.method and m.value is not None:
            members = groups.setdefault(m.method.split("/")[0], {})
            members.setdefault((m.name, m.split, m.direction), []).append(m)
    many = {group: {key: found for key, found in keys.items() if len(found) > 1} for group, keys in groups.items()}
    return {group: keys for group, keys in many.items() if keys}


def _ratios(medians: Sequence[Measure]) -> list[Measure]:
    """Median of 1 - r of every later group over that of the first; the range is that of the two ranges."""
    found: list[Measure] = []
    ours = [m for m in medians if m.name == "coordinate_misalignment"]
    for m in ours:
        first = next(one for one in ours if (one.split, one.direction) == (m.split, m.direction))
        if m is first or not (first.value and first.range_low and first.range_high) or m.value is None:
            continue
        low, high = (m.range_low or 0.0) / first.range_high, (m.range_high or 0.0) / first.range_low
        names = [one.method.split("/")[0] for one in (m, first)]
        ratio = dataclasses.replace(m, name="misalignment_ratio", method=" over ".join(names), better=None)
        found.append(dataclasses.replace(ratio, value=m.value / first.value, range_low=low, range_high=high))
    return found
