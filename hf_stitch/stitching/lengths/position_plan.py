"""Windows: every length rule says, for each row, which source timesteps are averaged into it.

A window is a half-open range `[start, end)` of timesteps. A row joins K windows, so a batch of rows is an int64 tensor
(b, r, K, 2). Averages are differences of cumulative sums, so their cost does not depend on the windows' widths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

PADDING, MAPPED, MEAN, SPECIAL = 0, 1, 2, 3  # kinds of positions, see `Plan`


@dataclass(frozen=True)
class Plan:
    """Where each target position of a batch comes from.

    Attributes:
        windows: (b, r, K, 2) int64 source windows of the rows that the layer maps; unused rows have end <= start.
        kind: (b, t') int64: PADDING, MAPPED (from row `row`), MEAN (mean of the mapped positions) or SPECIAL.
        row: (b, t') int64: for MAPPED the row times `steps` plus the step inside it, for SPECIAL the token id.
    """

    windows: Tensor
    kind: Tensor
    row: Tensor

    @property
    def mask(self) -> Tensor:
        """(b, t') bool: the real positions of the target."""
        return self.kind != PADDING

    @property
    def used(self) -> Tensor:
        """(b, r) bool: the rows that are mapped."""
        return (self.windows[..., 1] > self.windows[..., 0]).any(-1)


def batch_plan(samples: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], side: str) -> Plan:
    """Pad per-sample (windows (r, K, 2), kind (t',), row (t',)) into one Plan; `side` is where padding goes."""
    rows = max(len(windows) for windows, _, _ in samples)
    length = max(len(kind) for _, kind, _ in samples)
    parts = samples[0][0].shape[1]
    windows = np.zeros((len(samples), rows, parts, 2), np.int64)
    kind = np.full((len(samples), length), PADDING, np.int64)
    row = np.zeros((len(samples), length), np.int64)
    for i, (w, k, r) in enumerate(samples):
        windows[i, : len(w)] = w
        place = slice(length - len(k), length) if side == "left" else slice(0, len(k))
        kind[i, place], row[i, place] = k, r
    return Plan(torch.from_numpy(windows), torch.from_numpy(kind), torch.from_numpy(row))
