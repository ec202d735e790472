"""Ridge regression: exact on linear data, streamed, with a penalty chosen by cross-validation."""

import pytest
import torch
from clouds import normal, rows

from hf_stitch.errors import FitError
from hf_stitch.geometry.ridge import NormalEquations
from hf_stitch.stitching.layers.fit_layer import fit_layer


def test_linear_data_are_mapped_exactly() -> None:
    x = 100 + normal(80, 5)
    y = x @ normal(5, 7, seed=1) - 3
    for options in ({}, {"ridge": 0.0}):
        layer = fit_layer("affine", rows(x), rows(y), options=options)
        assert torch.allclose(layer(x), y, atol=1e-6)


def test_streaming_equals_one_batch() -> None:
    x, y = 1e4 + normal(60, 4), normal(60, 3, seed=1)
    whole, parts = NormalEquations(4, 3), NormalEquations(4, 3)
    whole.add(x, y)
    for first in range(0, 60, 7):
        parts.add(x[first : first + 7], y[first : first + 7].float())
    parts.add(x[:0], y[:0])
    assert parts.count == 60
    for one, other in zip(whole.solve(0.1), parts.solve(0.1), strict=True):
        assert torch.allclose(torch.as_tensor(one), torch.as_tensor(other), rtol=1e-4, atol=1e-4)
    exact = NormalEquations.of(x, y, batch=11)
    assert torch.allclose(exact.scatter(), (x - x.mean(0)).T @ (x - x.mean(0)), rtol=1e-9)
    assert torch.allclose(exact.solve(0.1)[0], whole.solve(0.1)[0], rtol=1e-9)


def test_definition_of_the_penalty() -> None:
    x, y = normal(30, 4), normal(30, 2, seed=1)
    equations = NormalEquations(4, 2)
    equations.add(x, y)
    weight, bias, used = equations.solve(0.5)
    a, b = x - x.mean(0), y - y.mean(0)
    unit = a.square().sum() / 4
    wanted = torch.linalg.solve(a.T @ a + 0.5 * unit * torch.eye(4), a.T @ b)
    assert used == 0.5
    assert torch.allclose(weight, wanted)
    assert torch.allclose(bias, y.mean(0) - x.mean(0) @ wanted)


def test_auto_is_near_the_best_ridge() -> None:
    x, slope = normal(70, 40), normal(40, 6, seed=1)
    noise = 6 * normal(70, 6, seed=2)
    new = normal(500, 40, seed=3)

    def error(ridge) -> float:
        layer = fit_layer("affine", rows(x), rows(x @ slope + noise), options={"ridge": ridge})
        return float((layer(new) - new @ slope).square().mean())

    candidates = [error(10.0**k) for k in range(-6, 3)]
    assert error("auto") < 1.1 * min(candidates)
    assert max(candidates) > 1.5 * min(candidates)


def test_fewer_rows_than_features() -> None:
    x = normal(10, 30)
    layer = fit_layer("affine", rows(x), rows(x[:, :2]))
    assert layer(x).isfinite().all()
    assert "10 rows for 30 features" in layer.diagnostics["warnings"][0]


def test_refusals() -> None:
    with pytest.raises(FitError, match="at least two rows"):
        fit_layer("affine", rows(normal(1, 3)), rows(normal(1, 3)))
    with pytest.raises(FitError, match="all 3 source features are constant"):
        fit_layer("affine", rows(torch.ones(9, 3)), rows(normal(9, 3)))
    with pytest.raises(FitError, match="ridge 0 needs more than 20 rows"):
        fit_layer("affine", rows(normal(9, 20)), rows(normal(9, 3)), options={"ridge": 0})
    with pytest.raises(FitError, match="number >= 0"):
        fit_layer("affine", rows(normal(9, 2)), rows(normal(9, 3)), options={"ridge": -1})
    for unfilled in (NormalEquations(2, 2).solve, NormalEquations(2, 2).scatter):
        with pytest.raises(FitError, match="no rows"):
            unfilled()
    with pytest.raises(FitError, match="normal equations: expected"):
        NormalEquations(2, 2).add(normal(3, 2), normal(3, 1))
