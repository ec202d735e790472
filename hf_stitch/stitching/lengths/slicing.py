"""Slices of p timesteps that are mapped as one row, and where each timestep is found again afterwards.

`windows` are p consecutive timesteps. `strided` ones are p equidistant timesteps spread over the whole sequence, as in
Stroescu's thesis, experiment 2: of 100 timesteps, 4 slices of 25 with a distance of 4. Every timestep lies in exactly
one slice; where p does not divide the length, the last timestep stands in for those that are missing.
"""

from __future__ import annotations

import numpy as np


def slices(count: int, size: int, slicing: str) -> np.ndarray:
    """(ceil(count / size), size) timesteps of each slice; past the end the last one is repeated."""
    rows = -(-count // size)
    every = np.arange(rows * size)
    found = every.reshape(size, rows).T if slicing == "strided" else every.reshape(rows, size)
    return np.minimum(found, max(count - 1, 0))


def places(count: int, size: int, slicing: str) -> np.ndarray:
    """(count,) where each timestep lies in the flattened slices: `slices(...).ravel()[places(...)]` counts up."""
    step = np.arange(count)
    if slicing != "strided":
        return step
    rows = -(-count // size)
    return (step % rows) * size + step // rows if count else step
