"""Evidence that a cloud is folded: rows that are near in it, and far apart in a cloud that corresponds to it."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree
from torch import Tensor

# All by hand.
NEIGHBOURS = 4  # where two sheets lie on each other some of them are of the other one
NEAR = 0.05  # of a cloud's standard deviation; sparser clouds give no evidence
FAR = 0.25  # of the other cloud's standard deviation
TOLERATED = 0.02  # share of rows


def folded(rows: Tensor, others: Tensor) -> tuple[float, tuple[int, int]]:
    """How much of a cloud (n, m) lies on itself although it should not, by corresponding rows (n, m').

    Returns:
        Share of rows that are near one of their nearest NEIGHBOURS rows while the corresponding rows are far apart, and
        the pair of rows for which these are farthest apart. A one-to-one cloud that is sampled densely has share 0; a
        sparse one has share 0 too, for want of evidence.
    """
    points, partners = (part.detach().double().cpu().numpy() for part in (rows, others))
    if len(points) < NEIGHBOURS + 1:
        return 0.0, (0, 0)
    distance, place = cKDTree(points).query(points, k=NEIGHBOURS + 1)
    apart = np.linalg.norm(partners[place] - partners[:, None], axis=2)
    folds = (distance <= NEAR * _spread(points)) & (apart > FAR * _spread(partners))
    row, column = np.unravel_index(np.where(folds, apart, 0.0).argmax(), apart.shape)
    return float(folds.any(1).mean()), (int(row), int(place[row, column]))


def _spread(points: np.ndarray) -> float:
    return float(np.sqrt(points.var(0).sum()))
