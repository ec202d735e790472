"""Few rows of many: evenly spread ones, those that a report shows, and landmarks that cover a cloud."""

from __future__ import annotations

import torch
from torch import Tensor

from hf_stitch.errors import FitError


def evenly_spaced(rows: int, pairs: int | None, dtype: torch.dtype = torch.float64) -> Tensor:
    """Numbers of `pairs` rows, evenly spread over all `rows` of them (all when None); FitError for other counts.

    `dtype` is that of the steps before they are rounded. In float32 some numbers are one off where rows are many; it is
    for places whose saved results were made so.
    """
    if pairs is None:
        return torch.arange(rows)
    if not 1 <= pairs <= rows:
        raise FitError(f"pairs: expected 1 to {rows}, the number of paired rows; got {pairs}")
    return torch.linspace(0, rows - 1, pairs, dtype=dtype).round().long()


SHOWN = 2000  # rows of a cloud whose coordinates a report holds; by hand: a few hundred kilobytes of it


def shown(rows: int) -> Tensor:
    """Numbers of the rows of a cloud whose coordinates a report holds, evenly spread."""
    return evenly_spaced(rows, min(rows, SHOWN), torch.float32)


# Squared distance, as a share of the largest squared length, that is rounding: some hundred eps of float64.
SAME = 1e-13


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
    rows = rows - rows.mean(0)
    lengths = rows.square().sum(1)
    gap, same = torch.full_like(lengths, torch.inf), SAME * lengths.max()
    chosen = [int(lengths.argmax())]
    while len(chosen) < count:
        newest = rows[chosen[-1]]
        # One matrix-vector product a landmark: differences would take ten times as long.
        torch.minimum(gap, torch.addmv(lengths, rows, newest, alpha=-2).add_(newest @ newest), out=gap)
        place = int(gap.argmax())
        if not gap[place] > same:
            break
        chosen.append(place)
    return torch.tensor(sorted(chosen), device=points.device)
