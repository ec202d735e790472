"""Groups to which all samples of their split belong: what is told of them was told of the split."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from hf_stitch.report.measure import Measure


def without_lone_groups(measures: Sequence[Measure]) -> tuple[list[Measure], list[str]]:
    """Measures without those of groups that are the whole of their split, and the names of these groups' splits."""
    alone = []
    for base in dict.fromkeys(m.split for m in measures if "/" not in m.split):
        groups = {m.split for m in measures if m.split.startswith(f"{base}/")}
        if len(groups) == 1 and _repeats(measures, group := next(iter(groups)), base):
            alone.append(group)
    return [m for m in measures if m.split not in alone], alone


def _repeats(measures: Sequence[Measure], group: str, base: str) -> bool:
    told = [m for m in measures if m.split == base]
    return all(dataclasses.replace(m, split=base) in told for m in measures if m.split == group)
