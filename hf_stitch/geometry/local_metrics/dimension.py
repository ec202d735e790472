"""The intrinsic dimension that local covariances show, and what it asks of a hook."""

from __future__ import annotations

import torch
from torch import Tensor

# By hand: variances are squares, so this is a direction 300 times shorter than the longest.
GAP_FLOOR = 1e-5  # gaps of the spectrum are not looked for below this share: curvature, not dimension, lives there


def _gaps(variances: Tensor) -> Tensor:
    """(n,) number of directions before the largest relative gap of each spectrum."""
    if variances.shape[1] == 1:
        return torch.ones(len(variances), dtype=torch.long)
    shares = (variances.double() / variances[:, :1].double()).clamp_min(GAP_FLOOR)
    return (shares[:, :-1] / shares[:, 1:]).argmax(1) + 1


def intrinsic_dimension(variances: Tensor) -> tuple[float, float, float]:
    """Median, 10th and 90th percentile over rows of the place of the largest relative gap in (n, k) spectra.

    A spectrum of one variance has dimension 1. Give at least one direction more than the dimension that is expected.
    """
    found = _gaps(variances).sort().values
    low, high = (float(found[round(share * (len(found) - 1))]) for share in (0.1, 0.9))
    return float(found[(len(found) - 1) // 2]), low, high


def whitney(dimension: float, features: int) -> str | None:
    """What is wrong when fewer than 2 d + 1 features are selected (Whitney's embedding theorem), or None."""
    needed = 2 * round(dimension) + 1
    if features >= needed:
        return None
    return (
        f"{features} features may fold a cloud of dimension {round(dimension)}: Whitney's theorem asks for {needed}; "
        "select more features"
    )


def scarce(dimension: float, neighbours: int) -> str | None:
    """What is wrong with so few random neighbours of every row, or None: the gap that they show may be chance."""
    needed = 2 * round(dimension) + 1
    if neighbours >= needed:
        return None
    return (
        f"{neighbours} neighbours of a sample are too few to tell that the cloud has dimension {round(dimension)}: set "
        f"neighborhoods.size to {needed} or more"
    )
