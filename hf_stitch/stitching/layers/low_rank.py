"""The affine map of low rank: reduced-rank ridge regression in closed form."""

from __future__ import annotations

import torch
from torch import Tensor

from hf_stitch.activations.activation_set import RowSet, paired_blocks
from hf_stitch.geometry.linalg import eigh
from hf_stitch.geometry.ridge import NormalEquations
from hf_stitch.recipe.stitch import LowRank
from hf_stitch.stitching.layers.affine import chosen_rows, few_rows, linear_tensors
from hf_stitch.stitching.layers.layer import StitchingLayer

KEPT = 0.99  # of the prediction's variance, where no rank is asked for: a convention, as for principal components


class LowRankLayer(StitchingLayer):
    """y = (x A) B + b with A (m, r) and B (r, m'): the ridge map, projected on r directions of the target.

    They are the leading right singular directions of the centred ridge prediction on the fitted rows, found from its
    second moments (Izenman 1975, identity weights). The error on these rows falls with r, and is that of the ridge map
    for r = min(m, m').
    """

    method = "low_rank"
    learned = ("reduction", "weight", "bias")
    reduction: Tensor
    weight: Tensor
    bias: Tensor

    @classmethod
    def fit(cls, source: RowSet, target: RowSet, options: LowRank) -> LowRankLayer:
        """Fit on paired rows; for the units of `ridge` see `NormalEquations.solve`. A rank above min(m, m') is that.

        Raises:
            FitError: fewer than two rows, constant features, or a ridge of 0 that leaves the map undetermined.
        """
        settings = options.resolved()
        source, target = chosen_rows(source, target, settings["pairs"])
        equations, total = NormalEquations(source.width, target.output_width), torch.zeros((), dtype=torch.float64)
        for x, y in paired_blocks(source, target):
            equations.add_all(x, y)
            total = total.to(x.device) + x.sum(0, dtype=total.dtype)
        full, offset, ridge = equations.solve(settings["ridge"])
        variances, directions = _directions(equations.scatter(), full)
        # tiny: a prediction without any variance has rank 1, not a division by 0.
        share = variances.cumsum(0) / variances.sum().clamp_min(torch.finfo(variances.dtype).tiny)
        rank = min(settings["rank"] or 1 + int((share < KEPT).sum()), len(share))
        weight = directions[:rank]
        reduction = full @ weight.T
        # The map goes through the mean of the rows as the ridge map does, whose offset is mean y - mean x W.
        bias = offset + total / len(source) @ (full - reduction @ weight)
        tensors = linear_tensors(source, target, weight, bias)
        tensors["reduction"] = reduction.to(tensors["weight"].dtype).contiguous()
        layer = cls(tensors, source.width, target.output_width, settings | {"rank": rank})
        notes = {"ridge": ridge, "rank": rank, "variance_kept": float(share[rank - 1])}
        layer.diagnostics = notes | {"warnings": few_rows(len(source), source.width)}
        return layer

    def predict(self, rows: Tensor) -> Tensor:
        return torch.addmm(self.bias.to(rows.dtype), rows @ self.reduction.to(rows.dtype), self.weight.to(rows.dtype))


def _directions(scatter: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Squared singular values (k,), descending, and right singular directions (k, m') of the prediction X W.

    X^T X = V S V^T, so that X W and S^(1/2) V^T W, which is no longer than W, have the same ones.
    """
    spectrum, vectors = eigh(scatter)
    root = spectrum.clamp_min(0).sqrt()[:, None] * (vectors.T @ weight)
    _, sizes, directions = torch.linalg.svd(root, full_matrices=False)
    return sizes.square(), directions
