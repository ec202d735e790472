"""Orthogonal maps are recovered, and few pairs suffice block by block."""

import pytest
import torch
from clouds import normal

from hf_stitch.errors import FitError
from hf_stitch.geometry.alignment.orthogonal import blocks, clusters, kabsch, procrustes, sign


def test_procrustes_recovers_any_orthogonal_map() -> None:
    a = normal(50, 4)
    turn = torch.linalg.qr(normal(4, 4, seed=1)).Q
    for reflected in (turn, turn * torch.tensor([-1.0, 1, 1, 1])):
        found = procrustes(a, a @ reflected)
        assert torch.allclose(found.rotation, reflected, atol=1e-10)
        assert found.residual < 1e-10
        assert torch.linalg.det(kabsch(a, a @ reflected).rotation) == pytest.approx(1.0)
    noisy = procrustes(a, a @ turn + 0.1 * normal(50, 4, seed=2))
    assert 0.05 < noisy.residual < 0.15


def test_kabsch_is_procrustes_for_rotations() -> None:
    a = normal(50, 3)
    turn = torch.linalg.matrix_exp(normal(3, 3) - normal(3, 3).T)
    assert torch.allclose(kabsch(a, a @ turn).rotation, turn, atol=1e-10)


def test_sign_needs_one_pair() -> None:
    a = normal(30, 5)
    flips = torch.tensor([1.0, -1, -1, 1, -1], dtype=torch.float64)
    found = sign(a[:1], (a * flips)[:1])
    assert torch.equal(found.rotation, torch.diag(flips))


def test_blocks_need_few_pairs() -> None:
    eigenvalues = torch.tensor([1.0, 1.01, 2.0, 4.0, 4.05, 9.0, 16.0, 25.0, 36.0, 49.0], dtype=torch.float64)
    assert clusters(eigenvalues) == [[0, 1], [2], [3, 4], [5], [6], [7], [8], [9]]
    turn = torch.eye(10, dtype=torch.float64)
    turn[:2, :2] = torch.linalg.qr(normal(2, 2)).Q
    turn[5, 5] = -1
    a = normal(4, 10)
    found = blocks(a, a @ turn, eigenvalues)
    assert torch.allclose(found.rotation, turn, atol=1e-10)
    assert (procrustes(a, a @ turn).rotation - turn).norm() > 0.5


def test_refusals() -> None:
    for a, b in ((normal(3, 2), normal(4, 2)), (normal(0, 2), normal(0, 2)), (normal(3, 2), normal(3, 3))):
        with pytest.raises(FitError, match="same number of pairs"):
            procrustes(a, b)
