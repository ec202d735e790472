"""Functions of earlier coordinates are recognised."""

import math

import torch
from clouds import interval, normal

from hf_stitch.geometry.diffusion.harmonics import harmonic_residuals, new_coordinates


def test_only_new_directions_have_residuals_near_one() -> None:
    x, y = interval(700)[:, 0], interval(700)[torch.randperm(700, generator=torch.Generator().manual_seed(0)), 0]
    columns = [torch.cos(math.pi * x), torch.cos(2 * math.pi * x), torch.cos(math.pi * y), torch.cos(3 * math.pi * x)]
    residuals = harmonic_residuals(torch.stack(columns, 1))
    assert residuals[0] == 1
    assert residuals[2] > 0.8
    assert residuals[1] < 0.2
    assert residuals[3] < 0.3
    assert new_coordinates(residuals, 6).tolist() == [0, 2, 4, 5]


def test_only_the_first_are_examined() -> None:
    assert len(harmonic_residuals(normal(60, 30))) == 20
    assert len(harmonic_residuals(normal(60, 30), limit=3)) == 3
    assert harmonic_residuals(normal(60, 1)).tolist() == [1.0]
