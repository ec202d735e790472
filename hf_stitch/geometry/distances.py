"""Euclidean distances between clouds, in blocks that bound the memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hf_stitch.runtime.sharding import BLOCK


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


def nearest_rows(rows: Tensor, points: Tensor) -> Tensor:
    """(b,) number of the nearest point of each row; the first of equally near ones."""
    shift = points.mean(0)
    centred = points - shift
    with torch.no_grad():
        return in_blocks(lambda block: squared_euclidean(block - shift, centred).argmin(1), rows, len(points))
