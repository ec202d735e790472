"""Whether there is anything to see in numbers: what is the same throughout is said in a line, not drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def varies(values: Any) -> bool:
    """Whether numbers differ by more than rounding."""
    array = np.asarray(values, dtype=float)
    return bool(array.size) and bool(np.ptp(array) > 8 * np.finfo(float).eps * np.abs(array).max())


def throughout(values: Sequence[float | None]) -> str:
    """`0.5 throughout` of numbers that are the same; "" of those that vary, and where there are none."""
    known = [value for value in values if value is not None]
    return "" if not known or varies(known) else f"{known[0]:.4g}" + (" throughout" if len(known) > 1 else "")
