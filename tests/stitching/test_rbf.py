"""The direct spline bends where a linear map cannot."""

import pytest
import torch
from clouds import normal, rows

from hf_stitch.errors import FitError
from hf_stitch.stitching.layers.fit_layer import fit_layer


def test_beats_the_affine_map_on_a_bent_one() -> None:
    def bent(x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x[:, 0] ** 2, x[:, 0] * x[:, 1]], 1)

    x, new = normal(200, 2), normal(100, 2, seed=1)
    errors = {}
    for method, options in (("affine", {}), ("rbf", {"smoothing": 1e-3})):
        layer = fit_layer(method, rows(x), rows(bent(x)), options=options)
        errors[method] = float((layer(new) - bent(new)).square().mean())
    assert errors["rbf"] < 0.05 * errors["affine"]
    assert layer.diagnostics == {"centres": 200, "smoothing": 1e-3, "warnings": []}


def test_too_few_rows_say_how_many_are_needed() -> None:
    with pytest.raises(FitError, match=r"20 features needs at least 21 distinct rows; got 9: .*more samples.*affine"):
        fit_layer("rbf", rows(normal(9, 20)), rows(normal(9, 3)))
