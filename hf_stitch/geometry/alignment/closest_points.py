"""Alignment of two diffusion maps without any pairs: iterative closest point.

Coordinates of isometric clouds agree up to signs, and up to orthogonal maps within clusters of equal eigenvalues. Both
are tried, cluster by cluster, and the best few are refined by closest points (Besl & McKay 1992). A cloud that is its
own mirror image has several equally good answers: `margin` says how much worse the next different one was.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import block_diag
from scipy.spatial import cKDTree
from torch import Tensor

from hf_stitch.errors import FitError
from hf_stitch.geometry.alignment.orthogonal import Alignment, blocks, clusters, procrustes
from hf_stitch.geometry.subsets import evenly_spaced

# All by hand, none tuned: larger ones make the search longer and surer.
POINTS = 800  # rows compared, evenly spaced
COORDINATES = 8  # leading coordinates in which points are compared; later ones follow from the pairs found
ANGLES = 24  # turns tried of a pair of equal eigenvalues, with and without reflection
TURNS = 96  # orthogonal maps tried of larger clusters
BEAM = 6  # candidates kept from cluster to cluster
STEPS = 50  # of refining one candidate, at most


@dataclass(frozen=True)
class ClosestPoints(Alignment):
    """b is about a @ rotation, row by row as closest points; `residual` is the mean distance to them over |b|.

    `margin` is the residual of the best refined candidate that is another map, over the best one's; near 1 the clouds
    alone do not decide, and one pair would.
    """

    margin: float = float("inf")


def closest_points(a: Tensor, b: Tensor, eigenvalues: Tensor) -> ClosestPoints:
    """Orthogonal map of coordinates a (p, l) to b (q, l) of two samples of one cloud, no row of which need agree.

    eigenvalues: (l,) Laplace eigenvalues, such as the mean of both maps'; equal ones form the clusters.

    Raises:
        FitError: different numbers of coordinates, or an empty set.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or not len(a) or not len(b):
        raise FitError(f"closest points take two sets of one number of coordinates; got {a.shape}, {b.shape}")
    first, second = _thinned(a), _thinned(b)
    groups = clusters(eigenvalues)
    compared = list(itertools.takewhile(lambda group: group[0] == 0 or group[-1] < COORDINATES, groups))
    refined = []
    for start in _candidates(first, second, compared):
        refined.append(_refined(first, second, start, eigenvalues))
    refined.sort(key=lambda found: found[1])
    rotation, residual = refined[0]
    others = [worse for turn, worse in refined[1:] if np.abs(turn - rotation).max() > 0.1]
    margin = min(others, default=float("inf")) / max(residual, 1e-12)
    return ClosestPoints(torch.from_numpy(rotation).to(a.device), residual, "closest_points", margin)


def _thinned(rows: Tensor) -> np.ndarray:
    kept = evenly_spaced(len(rows), min(len(rows), POINTS), torch.float32)
    return rows[kept.to(rows.device)].detach().double().cpu().numpy()


def _candidates(a: np.ndarray, b: np.ndarray, groups: list[list[int]]) -> list[np.ndarray]:
    """The best few starts (k, k) in the compared coordinates, grown cluster by cluster."""
    kept = [np.empty((0, 0))]
    for group in groups:
        width = group[-1] + 1
        tree = cKDTree(b[:, :width])
        grown = [block_diag(before, turn) if len(before) else turn for before in kept for turn in _turns(len(group))]
        costs = [float(np.mean(tree.query(a[:, :width] @ turn)[0] ** 2)) for turn in grown]
        kept = [grown[place] for place in np.argsort(costs, kind="stable")[:BEAM]]
    return kept


def _turns(size: int) -> Iterator[np.ndarray]:
    """Orthogonal maps of a cluster: both signs; turns and reflections of a plane; random ones of more."""
    if size == 1:
        yield from (np.array([[1.0]]), np.array([[-1.0]]))
    elif size == 2:
        for angle in 2 * np.pi * np.arange(ANGLES) / ANGLES:
            turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
            yield from (turn, turn * [1, -1])
    else:
        draw = np.random.default_rng(0)
        for _ in range(TURNS):
            yield np.linalg.qr(draw.standard_normal((size, size)))[0]


def _refined(a: np.ndarray, b: np.ndarray, rotation: np.ndarray, eigenvalues: Tensor) -> tuple[np.ndarray, float]:
    """Map (l, l) after closest points no longer change, and its residual: by clusters, freely, then whole."""
    width = len(rotation)
    tree, partners = cKDTree(b[:, :width]), np.empty(0)
    for freely in (False, True):
        for _ in range(STEPS):
            found = tree.query(a[:, :width] @ rotation)[1]
            if np.array_equal(found, partners):
                break
            partners = found
            rotation = _fitted(a[:, :width], b[partners, :width], eigenvalues[:width], freely)
        partners = np.empty(0)
    if width < a.shape[1]:
        partners = tree.query(a[:, :width] @ rotation)[1]
        rotation = _fitted(a, b[partners], eigenvalues, len(a) >= 4 * a.shape[1])
    gaps = cKDTree(b).query(a @ rotation)[0]
    return rotation, float(np.sqrt(np.mean(gaps**2)) / np.sqrt(np.mean((b**2).sum(1))))


def _fitted(a: np.ndarray, b: np.ndarray, eigenvalues: Tensor, freely: bool) -> np.ndarray:
    pairs = torch.from_numpy(a), torch.from_numpy(b)
    return (procrustes(*pairs) if freely else blocks(*pairs, eigenvalues)).rotation.numpy()
