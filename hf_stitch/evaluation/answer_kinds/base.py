"""What measures of every kind of answer share: their scope, and which way is better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hf_stitch.evaluation.statistics.intervals import Interval
from hf_stitch.report.measure import Measure

Better = Literal["higher", "lower"] | None


@dataclass(frozen=True)
class Scope:
    """Where measures belong: split and direction, the bootstrap's seed, and the groups that get rows of their own."""

    split: str
    direction: Literal["forward", "backward"]
    seed: int
    groups: Sequence[str] | None = None

    def parts(self, n: int) -> list[tuple[str, np.ndarray]]:
        """The split as a whole and each of its groups, as (name, sample numbers)."""
        found = [(self.split, np.arange(n))]
        for group in sorted(set(self.groups or ())):
            found.append((f"{self.split}/{group}", np.flatnonzero(np.array(self.groups) == group)))
        return found

    def measure(self, name: str, method: str, split: str, found: Interval, better: Better = "higher") -> Measure:
        return Measure(name, method, split, self.direction, found.value, found.low, found.high, found.n, better)
