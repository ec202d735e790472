"""Means over windows of timesteps, and windows of equal or single timesteps."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


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


def split_evenly(start: int | np.ndarray, end: int | np.ndarray, parts: int) -> np.ndarray:
    """(parts, 2) windows that cover [start, end); neighbours share a timestep where it does not divide evenly.

    Of several ranges, starts and ends (r,), those of each: (r, parts, 2).
    """
    begin = np.asarray(start, np.int64)[..., None]
    width = np.maximum(np.asarray(end, np.int64)[..., None] - begin, 1)
    k = np.arange(parts)
    first = begin + (k * width) // parts
    last = begin + -(-((k + 1) * width) // parts)
    return np.stack([first, np.maximum(last, first + 1)], -1)


def single_steps(count: int) -> np.ndarray:
    """(count, 2) windows of one timestep each."""
    index = np.arange(count)
    return np.stack([index, index + 1], -1)
