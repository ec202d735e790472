"""The orthogonal map: rotation, one scale and a shift (Procrustes)."""

from __future__ import annotations

import torch
from torch import Tensor

from hf_stitch.activations.activation_set import ActivationSet
from hf_stitch.errors import FitError
from hf_stitch.geometry.subsets import evenly_spaced
from hf_stitch.recipe.stitch import Orthogonal
from hf_stitch.stitching.layers.affine import linear_tensors
from hf_stitch.stitching.layers.layer import StitchingLayer, outputs


class OrthogonalLayer(StitchingLayer):
    """y = c (x - mean x) R + mean y with R the orthogonal Procrustes solution.

    Of unequal widths the narrower side is padded with zeros; R is then the corner of an orthogonal matrix.
    """

    method = "orthogonal"
    learned = ("weight", "bias")
    weight: Tensor
    bias: Tensor

    @classmethod
    def fit(cls, source: ActivationSet, target: ActivationSet, options: Orthogonal) -> OrthogonalLayer:
        """Fit on paired rows; FitError for fewer than two rows or constant features."""
        chosen = evenly_spaced(len(source), options.pairs).to(source.values.device)
        # float64: what counts are small differences of activations that may be large.
        x, y = source.values[chosen].double(), outputs(target)[chosen].double()
        if len(x) < 2:
            raise FitError(f"an orthogonal map needs at least two rows; got {len(x)}: take more samples")
        centre_x, centre_y = x.mean(0), y.mean(0)
        x, y = x - centre_x, y - centre_y
        spread = x.square().sum()
        # (1e-12)^2: what rounding of float64 leaves of features that are constant; `not >` also catches NaN.
        if not spread > 1e-24 * len(x) * centre_x.square().sum():
            raise FitError(f"all source features are constant over {len(x)} rows: take other features or more samples")
        left, sizes, right = torch.linalg.svd(x.T @ y, full_matrices=False)
        scale = sizes.sum() / spread
        weight = scale * (left @ right)
        tensors = linear_tensors(source.values, outputs(target), weight, centre_y - centre_x @ weight)
        layer = cls(tensors, x.shape[1], y.shape[1], options.resolved())
        total = y.square().sum()
        residual = float((y - x @ weight).norm() / total.sqrt()) if total > 0 else 0.0
        alignment = {"residual": residual, "coordinates": min(weight.shape)}
        layer.diagnostics = {"alignment": alignment, "scale": float(scale), "warnings": []}
        return layer

    def predict(self, rows: Tensor) -> Tensor:
        return torch.addmm(self.bias.to(rows.dtype), rows, self.weight.to(rows.dtype))
