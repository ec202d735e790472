"""Orthogonal maps between the coordinates of two diffusion maps, constant coordinate left out.

Diffusion coordinates of isometric clouds agree up to an orthogonal map that mixes only coordinates of equal eigenvalues
(Bertalan et al. 2021, section 3). All functions take a (p, l) and b (p, l) rows of the same p samples; only
`closest_points.py` does without them. With few pairs: `blocks`, or `sign` where no eigenvalues are near each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hf_stitch.errors import FitError

# By hand: at 1,500 points of a square the draw of the points alone moves ratios of eigenvalues by 5 %.
CLUSTER = 0.05  # relative gap below which neighbouring eigenvalues count as equal


@dataclass(frozen=True)
class Alignment:
    """b is about a @ rotation; `residual` is |a R - b| / |b| over the pairs."""

    rotation: Tensor
    residual: float
    kind: str


def finished(a: Tensor, b: Tensor, rotation: Tensor, kind: str) -> Alignment:
    """The alignment with the residual that `rotation` leaves."""
    return Alignment(rotation, float((a @ rotation - b).norm() / b.norm().clamp_min(1e-300)), kind)


def checked(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The pairs in float64; FitError unless there are as many rows and columns on either side."""
    if a.ndim != 2 or a.shape != b.shape or not len(a):
        raise FitError(
            f"alignment takes the same number of pairs and coordinates; got {tuple(a.shape)}, {tuple(b.shape)}"
        )
    return a.double(), b.double()


def sign(a: Tensor, b: Tensor) -> Alignment:
    """Flips each coordinate so that it agrees with its partner; enough where all eigenvalues are simple."""
    a, b = checked(a, b)
    flips = torch.where((a * b).sum(0) < 0, -1.0, 1.0).to(a)
    return finished(a, b, torch.diag(flips), "sign")


def procrustes(a: Tensor, b: Tensor) -> Alignment:
    """The orthogonal map of least squares (Schoenemann 1966); needs about as many pairs as coordinates."""
    a, b = checked(a, b)
    left, _, right = torch.linalg.svd(a.T @ b)
    return finished(a, b, left @ right, "procrustes")


def kabsch(a: Tensor, b: Tensor) -> Alignment:
    """The rotation (determinant 1) of least squares (Kabsch 1976); rarely what is wanted."""
    a, b = checked(a, b)
    left, _, right = torch.linalg.svd(a.T @ b)
    flips = torch.ones(a.shape[1], dtype=a.dtype, device=a.device)
    flips[-1] = torch.sign(torch.linalg.det(left @ right))
    return finished(a, b, (left * flips) @ right, "kabsch")


def clusters(eigenvalues: Tensor, tolerance: float = CLUSTER) -> list[list[int]]:
    """Runs of neighbouring coordinates whose Laplace eigenvalues differ by less than `tolerance` of themselves."""
    found: list[list[int]] = [[0]]
    for k in range(1, len(eigenvalues)):
        before, here = float(eigenvalues[k - 1]), float(eigenvalues[k])
        near = abs(here - before) <= tolerance * max(abs(here), abs(before))
        found[-1].append(k) if near else found.append([k])
    return found


def blocks(a: Tensor, b: Tensor, eigenvalues: Tensor, tolerance: float = CLUSTER) -> Alignment:
    """Procrustes within each cluster of near-equal eigenvalues: for few pairs, where the whole is undetermined."""
    a, b = checked(a, b)
    rotation = torch.zeros(a.shape[1], a.shape[1], dtype=a.dtype, device=a.device)
    for columns in clusters(eigenvalues, tolerance):
        index = torch.tensor(columns, device=a.device)
        rotation[index[:, None], index] = procrustes(a[:, index], b[:, index]).rotation
    return finished(a, b, rotation, "blocks")
