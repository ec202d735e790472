"""Random points and metrics for the dense kernel."""

from __future__ import annotations

import torch
from torch import Tensor

from hf_stitch.geometry.local_metrics.local_metric import LocalMetric

FEATURES = 128


def cloud(n: int, rank: int, dtype: torch.dtype) -> tuple[Tensor, LocalMetric]:
    """Points (n, 128) and factors (n, rank, 128) of a truncated metric."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(n, FEATURES, generator=generator, dtype=dtype)
    factors = torch.randn(n, rank, FEATURES, generator=generator, dtype=dtype).div_(FEATURES**0.5)
    return points, LocalMetric(torch.zeros(n, dtype=dtype), factors, 1)
