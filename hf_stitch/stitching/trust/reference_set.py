"""Which rows a trust gauge compares with, whose they are, and how distances from them become shares."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hf_stitch.activations.activation_set import RowSet, paired_blocks
from hf_stitch.errors import FitError
from hf_stitch.geometry.local_metrics.covariance_sketch import CovarianceSketch
from hf_stitch.geometry.local_metrics.local_metric import LocalMetric
from hf_stitch.geometry.ridge import NormalEquations
from hf_stitch.geometry.subsets import evenly_spaced, farthest_points

SKETCH_ROWS, DIRECTIONS = 4096, 64  # of the pooled covariance; by hand
ETA = 0.1  # its regularisation, as a share of the mean variance; as of local metrics, where 0.1 was best on MiniLM
SHARED = -1  # owner of a row that several samples have: it is never left out


@dataclass(frozen=True)
class Owners:
    """Samples (n,) to which rows belong, and those of the reference rows of both sides."""

    rows: Tensor
    source: Tensor
    target: Tensor


@dataclass(frozen=True)
class LeaveOneOut:
    """Sample numbers (b,) of a batch, whose own reference rows do not count, beside those of the reference rows."""

    samples: Tensor
    source: Tensor
    target: Tensor

    def of(self, used: Tensor) -> Owners:
        rows = self.samples[:, None].expand(used.shape)[used]
        return Owners(rows, self.source.to(rows.device), self.target.to(rows.device))


def kept(rows: Tensor, most: int) -> Tensor:
    """Numbers of at most so many rows (n, m) that are spread over all of them."""
    if len(rows) <= most:
        return torch.arange(len(rows), device=rows.device)
    # Spread over the cloud, not drawn by density: a rare but fitted input must find a neighbour too.
    return farthest_points(rows, max(1, most))


def pooled(rows: Tensor) -> dict[str, Tensor]:
    """Regularised inverse of the covariance of all rows, as scale and factors."""
    spread = evenly_spaced(len(rows), min(len(rows), SKETCH_ROWS))
    chosen = rows[spread.to(rows.device)].double()
    if not bool((chosen != chosen[0]).any()):
        raise FitError(f"all {len(rows)} source rows are identical: take features that differ between samples")
    sketch = CovarianceSketch(1, rows.shape[1], DIRECTIONS)
    sketch.add((chosen - chosen.mean(0))[None].cpu())
    metric = LocalMetric.from_spectrum(*sketch.spectrum(), eta=ETA)
    return {"scale": metric.scale[0].to(rows.device), "factors": metric.factors[0].to(rows.device)}


def distinct(rows: Tensor, owners: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Distinct rows, at most so many of them, each with its sample or SHARED."""
    points, place = torch.unique(rows, dim=0, return_inverse=True)
    high = torch.full((len(points),), SHARED, device=owners.device).scatter_reduce(0, place, owners, "amax")
    low = torch.full_like(high, torch.iinfo(high.dtype).max).scatter_reduce(0, place, owners, "amin")
    chosen = kept(points, most)
    return points[chosen].clone(), torch.where(high == low, high, SHARED)[chosen]


def way_back(source: RowSet, target: RowSet) -> dict[str, Tensor]:
    """Ridge regression of source rows on target outputs, as weight and bias."""
    equations = NormalEquations(target.output_width, source.width)
    for rows, outputs in paired_blocks(source, target):
        equations.add(outputs.detach(), rows.detach())
    weight, bias, _ = equations.solve()
    return {"back_weight": weight, "back_bias": bias}


def without_own(squared: Tensor, rows: Tensor, points: Tensor) -> Tensor:
    """Squared distances (n, k), infinite where the row (n,) and the point (k,) belong to the same sample."""
    return squared.masked_fill((rows[:, None] == points) & (points != SHARED), torch.inf)


def nonconformity(found: Tensor, known: Tensor) -> Tensor:
    """(b,) the largest over the ingredients of (distance - median) / (95 % quantile - median) of the known (c, k)."""
    whole = known[known.isfinite().all(1)]
    middle, high = whole.quantile(0.5, dim=0), whole.quantile(0.95, dim=0)
    # An ingredient that is the same for all has no scale of its own: rounding must not decide there.
    spread = (high - middle).clamp_min(1e-6 * high.abs()).clamp_min(1e-12)
    return ((found - middle) / spread).amax(1)


def p_value(found: Tensor, known: Tensor) -> Tensor:
    """(b,) share of the known (c,) and of the sample itself that are at least as large."""
    order = known.sort().values
    below = torch.searchsorted(order, found.contiguous(), right=False)
    # +1 on both sides: the sample itself counts, without which the share is no p-value (Vovk et al. 2005).
    return (len(order) - below + 1).double() / (len(order) + 1)
