"""Long sound in windows: cut where it is quietest, or with margins that are dropped again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hf_stitch.errors import DataError

HEARD = 0.02
"""Seconds over which loudness is averaged when a quiet place is looked for; by hand, a frame of Wav2Vec2."""


@dataclass(frozen=True)
class Window:
    """Samples [start, stop) of a sound, of which the first `left` and the last `right` are only context."""

    start: int
    stop: int
    left: int = 0
    right: int = 0

    @property
    def own(self) -> int:
        """How many samples the window answers for."""
        return self.stop - self.start - self.left - self.right


def check_lengths(chunk: float, stride: float, smallest: float) -> None:
    """DataError unless windows of `chunk` seconds hold more than both strides and at least one frame."""
    if not chunk > 0 or not 0 <= 2 * stride < chunk:
        raise DataError(
            f"chunk_length_s {chunk:g} and stride_length_s {stride:g}: expected seconds, the first over twice the other"
        )
    if chunk - 2 * stride < smallest:
        raise DataError(f"chunk_length_s {chunk:g}: one frame of the model needs {smallest:.3g} s; give more")


def quiet_windows(samples: NDArray[np.float32], rate: int, chunk: float, stride: float) -> list[Window]:
    """Windows that cover a sound (t,) once, none longer than `chunk` seconds.

    The borders divide the sound evenly and are then moved, by at most `stride` seconds, to where it is quietest, so
    that a word is seldom cut in two.
    """
    count = _count(len(samples), rate, chunk, stride)
    slack, near = int(stride * rate), max(1, int(HEARD * rate))
    borders = [0]
    for i in range(1, count):
        even = i * len(samples) // count
        first, last = max(even - slack, borders[-1] + 1), min(even + slack, len(samples) - 1)
        borders.append(_quietest(samples, first, last, near) if last > first else even)
    return [Window(a, b) for a, b in zip(borders, [*borders[1:], len(samples)])]


def _count(length: int, rate: int, chunk: float, stride: float) -> int:
    """As few windows as can be: one where all fits, else such that no moved border makes one too long."""
    return 1 if length <= chunk * rate else -(-length // int((chunk - 2 * stride) * rate))


def _quietest(samples: NDArray[np.float32], first: int, last: int, near: int) -> int:
    """The place in [first, last] with the least energy round it."""
    low, high = max(0, first - near), min(len(samples), last + near)
    # float64: differences of a float32 sum over minutes would be rounding where it is quiet.
    energy = np.concatenate([[0.0], np.cumsum(samples[low:high].astype(np.float64) ** 2)])
    places = np.arange(first, last + 1)
    before, behind = np.maximum(places - near, low) - low, np.minimum(places + near, high) - low
    return int(places[np.argmin((energy[behind] - energy[before]) / (behind - before))])


def strided_windows(length: int, rate: int, chunk: float, stride: float) -> list[Window]:
    """Windows of `chunk` seconds, each with `stride` seconds of context on either side, but not at the sound's ends.

    The parts that are no context cover the sound once.
    """
    size, margin = int(chunk * rate), int(stride * rate)
    found, start = [], 0
    while True:
        stop = min(start + size, length)
        found.append(Window(start, stop, margin if start else 0, margin if stop < length else 0))
        if stop == length:
            return found
        start = stop - 2 * margin
