"""Euclidean distances between clouds, in blocks that bound the memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hf_stitch.runtime.sharding import BLOCK

MANY_FEATURES = 64  # from which on the product is quicker than the differences; by hand
CANCELLED = 1e-4  # of the two lengths: nearer rows lose more than four of float64's sixteen digits in the product


def in_blocks(function: Callable[[Tensor], Tensor], rows: Tensor, width: int) -> Tensor:
    """Apply `function` to blocks of rows such that a block has about BLOCK / width rows."""
    size = max(1, BLOCK // max(width, 1))
    if len(rows) <= size:
        return function(rows)
    return torch.cat([function(block) for block in rows.split(size)])


def squared_euclidean(rows: Tensor, points: Tensor) -> Tensor:
    """(b, n) squared distances by one matrix product; exact to rounding of |point|^2, never negative."""
    inner = torch.addmm(points.square().sum(1), rows, points.T, alpha=-2)
    lengths = rows.square().sum(1, keepdim=True)
    return inner + lengths if inner.requires_grad else inner.add_(lengths)


def squared_differences(rows: Tensor, points: Tensor) -> Tensor:
    """(b, n) squared distances with the digits of the differences, however near two rows are.

    In float64 and many features a matrix product is ten times as quick; what cancels in it is found again from the
    differences.
    """
    if rows.dtype != torch.float64 or rows.shape[1] < MANY_FEATURES or rows.requires_grad:
        return torch.cdist(rows, points, compute_mode="donot_use_mm_for_euclid_dist").square()
    lengths = points.square().sum(1)

    def block(part: Tensor) -> Tensor:
        found = squared_euclidean(part, points)
        near = found < CANCELLED * (part.square().sum(1, keepdim=True) + lengths)
        for i, j in zip(*(one.split(max(1, BLOCK // points.shape[1])) for one in near.nonzero(as_tuple=True))):
            found[i, j] = (part[i] - points[j]).square().sum(1)
        return found

    return in_blocks(block, rows, len(points))


def nearest_rows(rows: Tensor, points: Tensor) -> Tensor:
    """(b,) number of the nearest point of each row; the first of equally near ones."""
    shift = points.mean(0)
    centred = points - shift
    with torch.no_grad():
        return in_blocks(lambda block: squared_euclidean(block - shift, centred).argmin(1), rows, len(points))
