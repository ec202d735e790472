"""Local metrics against dense inverses; the sketch against the covariance it stands for."""

import pytest
import torch
from clouds import normal

from hf_stitch.errors import ManifoldError
from hf_stitch.geometry.local_metrics.covariance_sketch import CovarianceSketch
from hf_stitch.geometry.local_metrics.dimension import intrinsic_dimension, whitney
from hf_stitch.geometry.local_metrics.local_metric import LocalMetric


def deviations(rows: int, k: int, m: int, decay: float = 1.0) -> torch.Tensor:
    return normal(rows, k, m) * decay ** torch.arange(m, dtype=torch.float64)


def moments(block: torch.Tensor) -> torch.Tensor:
    return block.mT @ block / block.shape[1]


def quadratic(metric: LocalMetric) -> torch.Tensor:
    eye = torch.eye(metric.features, dtype=torch.float64)
    return metric.scale[:, None, None] * eye + metric.sign * metric.factors.mT @ metric.factors


def test_regularised_metric_is_the_inverse() -> None:
    block = deviations(5, 4, 7)
    sketch = CovarianceSketch(5, 7, 4)
    sketch.add(block)
    metric = LocalMetric.from_spectrum(*sketch.spectrum(), eta=0.1)
    covariance = moments(block)
    floor = 0.1 * covariance.diagonal(dim1=1, dim2=2).sum(1) / 7
    wanted = torch.linalg.inv(covariance + floor[:, None, None] * torch.eye(7))
    assert metric.sign == -1
    assert torch.allclose(quadratic(metric), wanted, rtol=1e-10)
    steps = normal(2, 3, 7, seed=1)
    index = torch.tensor([4, 1])
    direct = torch.einsum("bkm,bmn,bkn->bk", steps, wanted[index], steps)
    assert torch.allclose(metric.distances(index, steps), direct, rtol=1e-10)


def test_truncated_metric_is_the_pseudo_inverse() -> None:
    jacobian = normal(6, 5, 2)
    metric = LocalMetric.from_jacobian(jacobian, width=0.5)
    wanted = torch.linalg.pinv(0.25 * jacobian @ jacobian.mT)
    assert (metric.rank, metric.sign, metric.width) == (2, 1, 0.5)
    assert torch.allclose(quadratic(metric), wanted, rtol=1e-8, atol=1e-8)
    assert not metric.scale.any()


def test_rank_is_found_or_given() -> None:
    jacobian = normal(50, 9, 3)
    block = (jacobian @ normal(50, 3, 40, seed=1)).mT + 1e-4 * normal(50, 40, 9, seed=2)
    sketch = CovarianceSketch(50, 9, 8)
    sketch.add(block)
    spectrum = sketch.spectrum()
    metric = LocalMetric.from_spectrum(*spectrum)
    assert metric.rank == 3
    assert metric.dimension == intrinsic_dimension(spectrum[1])
    assert LocalMetric.from_spectrum(*spectrum, rank=2).rank == 2
    assert LocalMetric.from_spectrum(*spectrum, rank=20).rank == 8
    with pytest.raises(ManifoldError, match="rank of the local metrics"):
        LocalMetric.from_spectrum(*spectrum, rank=0)


def test_directions_of_rounding_are_not_inverted() -> None:
    sketch = CovarianceSketch(2, 5, 5)
    sketch.add(normal(2, 1, 5).expand(2, 3, 5))
    metric = LocalMetric.from_spectrum(*sketch.spectrum(), rank=3)
    assert metric.factors.isfinite().all()
    assert not metric.factors[:, 1:].any()


@pytest.mark.parametrize("features", [4, 12])
def test_sketch_is_exact_while_neighbours_fit(features: int) -> None:
    block = deviations(3, 8, features)
    sketch = CovarianceSketch(3, features, 4)
    for part in block.unbind(1):
        sketch.add(part)
    directions, variances, trace = sketch.spectrum()
    values, vectors = torch.linalg.eigh(moments(block))
    assert torch.allclose(variances, values.flip(1)[:, :4], rtol=1e-9)
    assert torch.allclose(trace, values.sum(1))
    assert torch.allclose(directions @ directions.mT, torch.eye(4, dtype=torch.float64).expand(3, 4, 4), atol=1e-8)
    overlap = (directions * vectors.flip(2)[:, :, :4].mT).sum(2).abs()
    assert torch.allclose(overlap, torch.ones_like(overlap), atol=1e-8)


def test_sketch_stays_small_and_near() -> None:
    block = deviations(3, 500, 40, decay=0.5)
    sketch = CovarianceSketch(3, 40, 10)
    for part in block.split(7, dim=1):
        sketch.add(part)
        assert sketch.held <= 20
    _, variances, trace = sketch.spectrum()
    exact = torch.linalg.eigvalsh(moments(block)).flip(1)[:, :10]
    assert torch.allclose(trace, block.square().sum((1, 2)) / 500)
    assert ((exact - variances).abs()[:, :4] < 0.02 * exact[:, :4]).all()


def test_taking_and_joining_rows() -> None:
    metric = LocalMetric.from_jacobian(normal(6, 5, 2))
    parts = [metric.take(torch.arange(4)), metric.take(torch.tensor([4, 5]))]
    joined = LocalMetric.concatenate(parts)
    assert torch.equal(joined.factors, metric.factors)
    with pytest.raises(ManifoldError, match="one kind"):
        LocalMetric.concatenate([metric, LocalMetric.from_jacobian(normal(2, 5, 2), eta=0.1)])
    with pytest.raises(ManifoldError, match="one kind"):
        LocalMetric.concatenate([])


def test_dimension_and_whitney() -> None:
    spectra = torch.tensor([[1.0, 0.5, 1e-4, 1e-5], [1.0, 1e-3, 1e-4, 1e-5], [1.0, 0.9, 1e-3, 1e-4]])
    assert intrinsic_dimension(spectra) == (2.0, 1.0, 2.0)
    assert intrinsic_dimension(torch.ones(2, 1)) == (1.0, 1.0, 1.0)
    assert whitney(2.0, 5) is None
    assert "asks for 5" in str(whitney(2.0, 4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d, v, t: (d, v, t.zero_()), "no variance"),
        (lambda d, v, t: (d, v * torch.nan, t), "NaN"),
        (lambda d, v, t: (d, v[:, :1], t), "expected directions"),
    ],
)
def test_wrong_spectra(change, message: str) -> None:
    spectrum = (normal(3, 2, 5), torch.ones(3, 2), torch.full((3,), 2.0))
    with pytest.raises(ManifoldError, match=message):
        LocalMetric.from_spectrum(*change(*spectrum))


def test_wrong_shapes() -> None:
    with pytest.raises(ManifoldError, match="scale"):
        LocalMetric(torch.ones(2), torch.ones(3, 1, 2), 1)
    with pytest.raises(ManifoldError, match="Jacobians"):
        LocalMetric.from_jacobian(torch.ones(3, 2))
    with pytest.raises(ManifoldError, match="at least one neighbour"):
        CovarianceSketch(2, 3).spectrum()
    with pytest.raises(ManifoldError, match="deviations"):
        CovarianceSketch(2, 3).add(torch.ones(2, 4))
    with pytest.raises(ManifoldError, match="capacity"):
        CovarianceSketch(0, 3)
