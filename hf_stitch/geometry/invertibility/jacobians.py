"""Jacobians over a box of inputs: condition numbers and singular places (Bertalan et al. 2021, figure 3).

A network or a map between clouds is a smooth function of the inputs; it can be inverted near an input where its
Jacobian has full rank, and folds where that loses it. Derivatives are exact, by forward-mode differentiation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor
from torch.autograd import forward_ad

from hf_stitch.geometry.subsets import evenly_spaced

# All by hand. Beyond the fit's inputs too, since it is there that networks fold (Bertalan et al. 2021, figure 3).
WIDER = 2.0  # the box that is looked at is so many times as wide as the one that the fit's inputs fill
GRID = {1: 401, 2: 41}  # places along each axis, by the number of inputs
SINGULAR = 100.0  # condition numbers above are counted as singular
CEILING = 1e8  # and above this are rounding: half of float64's digits
SKETCH, SMALL = 4096, 512  # rows whose directions are found, and features up to which all directions are
HELD, DIRECTIONS = 0.9, 16  # of a cloud's variance, by at most so many directions


@dataclass(frozen=True)
class Box:
    """A grid of inputs (n, d), the numbers along each axis, and which inputs lie where the fit's lie (n,)."""

    points: Tensor
    axes: list[Tensor]
    inside: Tensor

    @classmethod
    def around(cls, inputs: Tensor) -> Box:
        """The grid over inputs (k, d), d = 1 or 2, and some way beyond them."""
        low, high = inputs.double().amin(0), inputs.double().amax(0)
        middle, half = (low + high) / 2, (high - low) / 2
        count = GRID[inputs.shape[1]]
        steps = torch.linspace(-WIDER, WIDER, count, dtype=torch.float64, device=inputs.device)
        axes = [middle[k] + steps * half[k] for k in range(inputs.shape[1])]
        points = torch.cartesian_prod(*axes).reshape(-1, len(axes))
        shares = torch.cartesian_prod(*[steps] * len(axes)).reshape(-1, len(axes))
        return cls(points, axes, (shares.abs() <= 1 + 1e-9).all(1))


def jacobians(function: Callable[[Tensor], Tensor], points: Tensor) -> Tensor | None:
    """(n, m, d) float64 derivatives of a function (n, d) -> (n, m) of rows.

    None where torch has no forward derivative of a part of it, or where the result does not hang on the points in a
    way that can be differentiated, as that of the nearest neighbour.
    """
    columns = []
    for k in range(points.shape[1]):
        tangent = torch.zeros_like(points)
        tangent[:, k] = 1
        with forward_ad.dual_level(), torch.no_grad():
            try:
                moved = forward_ad.unpack_dual(function(forward_ad.make_dual(points, tangent))).tangent
            except NotImplementedError:
                return None
            if moved is None:
                return None
            columns.append(moved.double().clone())
    return torch.stack(columns, 2)


def along(mapped: Tensor, source: Tensor) -> Tensor:
    """(n, m', d): the derivative of a map along a cloud, in orthonormal tangents of it.

    Where the cloud itself is singular it has no tangents, and what comes out there means nothing.

    Args:
        mapped: (n, m', d) derivatives of the mapped activations by the input.
        source: (n, m, d) derivatives of the activations that are mapped.
    """
    _, sizes, right = torch.linalg.svd(source, full_matrices=False)
    safe = sizes.clamp_min(1e-300)
    return mapped @ right.mT / safe[:, None, :]


def condition(jacobian: Tensor, inside: Tensor) -> Tensor:
    """(n,) how far from folding: max(s_1, t) / s_d of the stretches s_1 >= ... >= s_d, at most CEILING.

    t is the median of s_1 inside. For one input s_1 / s_1 says nothing, and where all stretches shrink together their
    ratio says nothing either (z -> z^2 at 0): so a place is ill conditioned, too, where the function is flat beside
    what it usually is. What has no derivative counts as flat.
    """
    sizes = torch.linalg.svdvals(jacobian.nan_to_num(0.0, 0.0, 0.0))
    d = jacobian.shape[2]
    if sizes.shape[1] < d:  # fewer features than inputs: never one to one
        return torch.full_like(sizes[:, 0], CEILING)
    high, low = sizes[:, 0].clamp_min(sizes[inside, 0].median()), sizes[:, d - 1]
    return torch.where(low > high / CEILING, high / low, CEILING)


def leading(
    rows: Tensor, share: float = HELD, most: int = DIRECTIONS, few_features: int = SMALL
) -> tuple[Tensor, float]:
    """The first principal directions (m, d) of rows (n, m) that hold a share of their variance, and what they hold.

    Of many rows SKETCH ones, evenly spread, stand for all. Of up to `few_features` features the whole covariance is
    decomposed, of more its leading part is iterated.
    """
    spread = evenly_spaced(len(rows), min(len(rows), SKETCH))
    chosen = rows[spread.to(rows.device)].double()
    centred = chosen - chosen.mean(0)
    m = centred.shape[1]
    if m <= few_features:
        sizes, directions = torch.linalg.eigh(centred.T @ centred)
    else:
        plain = centred.cpu().numpy()
        product = LinearOperator((m, m), matvec=lambda v: plain.T @ (plain @ v), dtype=np.float64)
        found = eigsh(product, k=most, v0=np.ones(m))
        sizes, directions = (torch.from_numpy(part).to(rows.device) for part in found)
    held = sizes.flip(0).clamp_min(0).cumsum(0) / centred.square().sum()
    d = min(int((held < share).sum()) + 1, most, len(sizes))
    return directions.flip(1)[:, :d], float(held[d - 1])


def singular(conditions: Tensor, determinants: Tensor | None, inside: Tensor) -> Tensor:
    """(n,) bool: conditions (n,) above SINGULAR, or beyond a fold, where determinants (n,) tell."""
    odd = conditions > SINGULAR
    return odd if determinants is None else odd | folded(determinants, inside)


def folded(orientation: Tensor, inside: Tensor) -> Tensor:
    """(n,) bool: where determinants (n,) have another sign than at most places inside: beyond a fold."""
    sign = orientation.sign()
    usual = 1.0 if float(sign[inside].sum()) >= 0 else -1.0
    return sign * usual < 0


def orientation(jacobian: Tensor) -> Tensor | None:
    """(n,) determinants of square Jacobians; None of others, which have no orientation of their own."""
    return torch.linalg.det(jacobian) if jacobian.shape[1] == jacobian.shape[2] else None
