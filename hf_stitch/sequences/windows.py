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

PADDING, MAPPED, MEAN, SPECIAL = 0, 1, 2, 3


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


def pool_windows(frames: Tensor, windows: Tensor) -> Tensor:
    """Average timesteps over windows.

    Args:
        frames: (b, t, m) activations; padded timesteps may hold anything finite, windows never reach them.
        windows: (b, r, K, 2) int64.

    Returns:
        (b, r, K * m) in the dtype of `frames`; rows with an empty window are zero there.
    """
    b, t, m = frames.shape
    if bool((windows[..., 1] - windows[..., 0] == 1).all()) and windows.numel():  # timesteps as they are, bit for bit
        steps = windows[..., 0].flatten(1).clamp(0, t - 1).unsqueeze(-1).expand(-1, -1, m)
        return frames.gather(1, steps).reshape(b, windows.shape[1], -1)
    # float64 sums: a difference of float32 cumulative sums would lose the last digits on long audio.
    total = torch.cat([frames.new_zeros(b, 1, m, dtype=torch.float64), frames.double().cumsum(1)], 1)
    rows, parts = windows.shape[1:3]
    index = windows.clamp(0, t).reshape(b, rows * parts * 2, 1).expand(-1, -1, m)
    ends = total.gather(1, index).reshape(b, rows, parts, 2, m)
    width = (windows[..., 1] - windows[..., 0]).clamp(min=1).unsqueeze(-1)
    return ((ends[..., 1, :] - ends[..., 0, :]) / width).reshape(b, rows, parts * m).to(frames.dtype)


def split_evenly(start: int, end: int, parts: int) -> np.ndarray:
    """(parts, 2) windows that cover [start, end); neighbours share a timestep where it does not divide evenly."""
    width = max(end - start, 1)
    k = np.arange(parts)
    first = start + (k * width) // parts
    last = start + -(-((k + 1) * width) // parts)
    return np.stack([first, np.maximum(last, first + 1)], 1)


def single_steps(count: int) -> np.ndarray:
    """(count, 2) windows of one timestep each."""
    index = np.arange(count)
    return np.stack([index, index + 1], -1)


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
