"""The affine map by ridge regression on streamed normal equations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hf_stitch.activations.activation_set import RowSet, paired_blocks
from hf_stitch.errors import FitError
from hf_stitch.geometry.ridge import NormalEquations
from hf_stitch.geometry.subsets import evenly_spaced
from hf_stitch.recipe.stitch import Affine
from hf_stitch.stitching.layers.layer import StitchingLayer


class AffineLayer(StitchingLayer):
    """y = x W + b by ridge regression in float64; stored in the activations' own precision."""

    method = "affine"
    learned = ("weight", "bias")
    weight: Tensor
    bias: Tensor

    @classmethod
    def fit(cls, source: RowSet, target: RowSet, options: Affine) -> AffineLayer:
        """Fit on paired rows; for the units of `ridge` see `NormalEquations.solve`.

        Raises:
            FitError: fewer than two rows, constant features, or a ridge of 0 that leaves the map undetermined.
        """
        settings = options.resolved()
        source, target = chosen_rows(source, target, settings["pairs"])
        equations = NormalEquations(source.width, target.output_width)
        for x, y in paired_blocks(source, target):
            equations.add_all(x, y)
        weight, bias, used = equations.solve(settings["ridge"])
        layer = cls(linear_tensors(source, target, weight, bias), source.width, target.output_width, settings)
        layer.diagnostics = {"ridge": used, "warnings": few_rows(len(source), source.width)}
        return layer

    def predict(self, rows: Tensor) -> Tensor:
        return torch.addmm(self.bias.to(rows.dtype), rows, self.weight.to(rows.dtype))


def chosen_rows(source: RowSet, target: RowSet, pairs: int | None) -> tuple[RowSet, RowSet]:
    """The rows of `pairs` pairs, evenly spread, or of all; FitError for fewer than two."""
    if pairs is not None:
        chosen = evenly_spaced(len(source), pairs)
        source, target = source.subset(chosen), target.subset(chosen)
    if len(source) < 2:
        raise FitError(f"an affine map needs at least two rows; got {len(source)}: take more samples")
    return source, target


def linear_tensors(source: RowSet, target: RowSet, weight: Tensor, bias: Tensor) -> dict[str, Tensor]:
    """Weight and bias in the wider of the two sides' dtypes, at least float32."""
    # Solved in float64, kept in what the models compute in; but half precision is not enough for sums over features.
    dtype = torch.promote_types(torch.promote_types(source.dtype, target.dtype), torch.float32)
    return {"weight": weight.to(dtype).contiguous(), "bias": bias.to(dtype)}


def few_rows(rows: int, features: int) -> list[Any]:
    """What the report says where the rows alone do not determine a map."""
    if rows > features:
        return []
    return [f"{rows} rows for {features} features: the ridge decides much of the map; more samples would help"]
