"""Landmarks: few rows that cover a cloud."""

from __future__ import annotations

import torch
from torch import Tensor

from hf_stitch.errors import FitError


def farthest_points(points: Tensor, count: int) -> Tensor:
    """(count,) numbers of rows of (n, m), ascending: each next one is farthest from those chosen (Gonzalez 1985).

    The first is farthest from the mean, so nothing depends on chance or, without ties, on the order of rows. Fewer come
    back where there are fewer distinct rows. Every row is then within twice the best possible distance of a landmark.

    Raises:
        FitError: count is not 1 to n.
    """
    if not 1 <= count <= len(points):
        raise FitError(f"landmarks: expected 1 to {len(points)}, the number of rows; got {count}")
    rows = points.detach().double()
    gap = (rows - rows.mean(0)).square().sum(1)
    chosen = [int(gap.argmax())]
    gap = torch.full_like(gap, torch.inf)
    while len(chosen) < count:
        gap = torch.minimum(gap, (rows - rows[chosen[-1]]).square().sum(1))
        place = int(gap.argmax())
        if not gap[place] > 0:
            break
        chosen.append(place)
    return torch.tensor(sorted(chosen), device=points.device)
