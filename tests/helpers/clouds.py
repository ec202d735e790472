"""Clouds with known answers: closed forms of the Laplacian, and two small networks of one parabola."""

import itertools
import math

import torch
from torch import Tensor, nn

from hf_stitch.activations.activation_set import ActivationSet
from hf_stitch.geometry.local_metrics.covariance_sketch import CovarianceSketch
from hf_stitch.geometry.local_metrics.local_metric import LocalMetric


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def interval(n: int) -> Tensor:
    """Midpoints of n equal parts of [0, 1], as (n, 1)."""
    return ((torch.arange(n, dtype=torch.float64) + 0.5) / n)[:, None]


def cosine(x: Tensor, k: int) -> Tensor:
    """k-th eigenfunction of the interval in the scale in which phi_0 = 1."""
    return math.sqrt(2) * torch.cos(k * math.pi * x[:, 0])


def warped(x: Tensor) -> tuple[Tensor, Tensor]:
    """An observation (n, 2) of the interval that stretches it unevenly, and its Jacobians (n, 2, 1)."""
    values = torch.cat([torch.exp(2 * x), 2 * torch.sin(3 * x)], 1)
    return values, torch.cat([2 * torch.exp(2 * x), 6 * torch.cos(3 * x)], 1)[:, :, None]


def observed(x: torch.Tensor, seed: int) -> tuple[torch.Tensor, LocalMetric]:
    """Five tanh neurons after five tanh neurons, random weights, and the metrics of their exact Jacobians."""
    first = torch.linalg.qr(normal(5, 2, seed=seed)).Q
    second = torch.linalg.qr(normal(5, 5, seed=seed + 1)).Q * 1.2
    hidden = torch.tanh(x @ first.T + 0.3 * normal(5, seed=seed + 2))
    values = torch.tanh(hidden @ second.T)
    slopes = second @ ((1 - hidden**2)[:, :, None] * first)
    return values, LocalMetric.from_jacobian((1 - values**2)[:, :, None] * slopes)


def circle(n: int) -> Tensor:
    angle = 2 * math.pi * interval(n)[:, 0]
    return torch.stack([angle.cos(), angle.sin()], 1)


def rectangle(across: int, down: int, width: float, height: float) -> Tensor:
    first, second = torch.meshgrid(interval(across)[:, 0] * width, interval(down)[:, 0] * height, indexing="ij")
    return torch.stack([first.ravel(), second.ravel()], 1)


def sphere(n: int) -> Tensor:
    """Fibonacci lattice: nearly even points of the unit sphere."""
    i = torch.arange(n, dtype=torch.float64) + 0.5
    height, angle = 1 - 2 * i / n, i * math.pi * (1 + math.sqrt(5))
    radius = (1 - height**2).sqrt()
    return torch.stack([radius * angle.cos(), radius * angle.sin(), height], 1)


def rows(values: Tensor, metric: LocalMetric | None = None, first: int = 0) -> ActivationSet:
    """An activation set whose keys count from `first`."""
    keys = torch.stack([torch.arange(first, first + len(values)), torch.zeros(len(values), dtype=torch.long)], 1)
    return ActivationSet(values, keys, metric)


def same_up_to_sign(a: Tensor, b: Tensor) -> float:
    """Largest difference of two columns, the better of the two signs."""
    return min(float((a - b).abs().max()), float((a + b).abs().max()))


def parabola_network(seed: int) -> nn.Sequential:
    """A 1-8-8-8-1 tanh network fitted to x^2 on [-1, 1] by L-BFGS in float64; the first six modules end at the hook."""
    sizes = (1, 8, 8, 8, 1)
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(itertools.pairwise(sizes)):
        linear = nn.Linear(a, b).double()
        linear.weight.data = normal(b, a, seed=10 * seed + i) / math.sqrt(a)
        linear.bias.data = 0.3 * normal(b, seed=100 + 10 * seed + i)
        layers += [linear, nn.Tanh()]
    net = nn.Sequential(*layers[:-1])
    x = torch.linspace(-1, 1, 65, dtype=torch.float64)[:, None]
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = (net(x) - x**2).square().mean()
        value.backward()
        return value

    optimizer.step(loss)
    return net.requires_grad_(False)


def gaussian_metric(function: nn.Module, x: Tensor, neighbours: int = 256, delta: float = 0.05) -> LocalMetric:
    """Truncated metric from neighbours of x with standard deviation delta / 4."""
    width, values = delta / 4, function(x)
    sketch = CovarianceSketch(len(x), values.shape[1], 8)
    noise = generator(7)
    for _ in range(neighbours // 32):
        moved = x[:, None] + width * torch.randn(len(x), 32, x.shape[1], generator=noise, dtype=x.dtype)
        sketch.add(function(moved) - values[:, None])
    return LocalMetric.from_spectrum(*sketch.spectrum(), width=width)


def forms(metric: LocalMetric) -> torch.Tensor:
    """(n, m, m) matrices of a metric."""
    eye = torch.eye(metric.features, dtype=torch.float64)
    return metric.scale[:, None, None] * eye + metric.sign * metric.factors.mT @ metric.factors


def square(n: int) -> torch.Tensor:
    return 3 * torch.rand(n, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 1.5
