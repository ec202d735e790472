"""The orthogonal map: rotation, one scale and a shift (Procrustes)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from hf_stitch.activations.activation_set import RowSet, paired_blocks
from hf_stitch.errors import FitError
from hf_stitch.geometry.subsets import evenly_spaced
from hf_stitch.recipe.stitch import Orthogonal
from hf_stitch.stitching.layers.affine import linear_tensors
from hf_stitch.stitching.layers.layer import StitchingLayer


class OrthogonalLayer(StitchingLayer):
    """y = c (x - mean x) R + mean y with R the orthogonal Procrustes solution.

    Of unequal widths the narrower side is padded with zeros; R is then the corner of an orthogonal matrix.
    """

    method = "orthogonal"
    learned = ("weight", "bias")
    weight: Tensor
    bias: Tensor

    @classmethod
    def fit(cls, source: RowSet, target: RowSet, options: Orthogonal) -> OrthogonalLayer:
        """Fit on paired rows; FitError for fewer than two rows or constant features."""
        if options.pairs is not None:
            chosen = evenly_spaced(len(source), options.pairs)
            source, target = source.subset(chosen), target.subset(chosen)
        if len(source) < 2:
            raise FitError(f"an orthogonal map needs at least two rows; got {len(source)}: take more samples")
        moments = _Moments.of(source, target)
        # (1e-12)^2: what rounding of float64 leaves of features that are constant; `not >` also catches NaN.
        if not moments.spread > 1e-24 * len(source) * moments.centre_x.square().sum():
            raise FitError(
                f"all source features are constant over {len(source)} rows: take other features or more samples"
            )
        left, sizes, right = torch.linalg.svd(moments.cross, full_matrices=False)
        scale = sizes.sum() / moments.spread
        weight = scale * (left @ right)
        tensors = linear_tensors(source, target, weight, moments.centre_y - moments.centre_x @ weight)
        layer = cls(tensors, source.width, target.output_width, options.resolved())
        alignment = {"residual": _residual(source, target, moments, weight), "coordinates": min(weight.shape)}
        layer.diagnostics = {"alignment": alignment, "scale": float(scale), "warnings": []}
        return layer

    def predict(self, rows: Tensor) -> Tensor:
        return torch.addmm(self.bias.to(rows.dtype), rows, self.weight.to(rows.dtype))


@dataclass(frozen=True)
class _Moments:
    """Means of both sides, and sums over all rows round them: x^T y (m, m'), |x|^2 and |y|^2."""

    centre_x: Tensor
    centre_y: Tensor
    cross: Tensor
    spread: Tensor
    total: Tensor

    @classmethod
    def of(cls, source: RowSet, target: RowSet) -> _Moments:
        # Read twice: what counts are small differences of activations that may be large.
        sums = _summed(source, target, lambda x, y: (x.sum(0), y.sum(0)))
        centre_x, centre_y = (total / len(source) for total in sums)

        def centred(x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
            x, y = x.sub_(centre_x), y.sub_(centre_y)
            return x.T @ y, x.square().sum(), y.square().sum()

        return cls(centre_x, centre_y, *_summed(source, target, centred))


def _summed(source: RowSet, target: RowSet, terms: Callable[[Tensor, Tensor], tuple[Tensor, ...]]) -> list[Tensor]:
    """Sums over all blocks of what `terms` makes of one: rows x and y, copied to float64."""
    found = (terms(*(side.to(torch.float64, copy=True) for side in both)) for both in paired_blocks(source, target))
    return functools.reduce(lambda total, own: [one + other for one, other in zip(total, own)], map(list, found))


def _residual(source: RowSet, target: RowSet, moments: _Moments, weight: Tensor) -> float:
    """Norm of what the map misses over that of the target's rows round their mean."""
    if not moments.total > 0:
        return 0.0

    def missed(x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        return ((y.sub_(moments.centre_y) - x.sub_(moments.centre_x) @ weight).norm().square(),)

    [square] = _summed(source, target, missed)
    return float(square.sqrt() / moments.total.sqrt())
