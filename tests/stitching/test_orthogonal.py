"""Rotation, scale and shift are recovered, also between unequal widths."""

import pytest
import torch
from clouds import normal, rows

from hf_stitch.errors import FitError
from hf_stitch.stitching.layers.fit_layer import fit_layer


@pytest.mark.parametrize("width", [5, 8])
def test_recovers_a_similarity(width: int) -> None:
    x = 2 + normal(40, 5)
    turn = torch.linalg.qr(normal(width, 5, seed=1)).Q.T
    y = 3 * (x @ turn) - 1
    layer = fit_layer("orthogonal", rows(x), rows(y))
    assert torch.allclose(layer(x), y, atol=1e-9)
    assert layer.diagnostics["alignment"]["residual"] < 1e-9
    assert layer.diagnostics["scale"] == pytest.approx(3.0)
    if width == 8:
        back = fit_layer("orthogonal", rows(y), rows(x))
        assert torch.allclose(back(y), x, atol=1e-9)


def test_is_orthogonal_up_to_scale_whatever_the_data() -> None:
    x, y = normal(40, 4), normal(40, 4, seed=1)
    weight = fit_layer("orthogonal", rows(x), rows(y)).weight
    square = weight @ weight.T
    assert torch.allclose(square, square[0, 0] * torch.eye(4, dtype=torch.float64), atol=1e-9)


def test_refusals() -> None:
    with pytest.raises(FitError, match="at least two rows"):
        fit_layer("orthogonal", rows(normal(1, 3)), rows(normal(1, 3)))
    with pytest.raises(FitError, match="constant"):
        fit_layer("orthogonal", rows(torch.ones(9, 3)), rows(normal(9, 3)))
