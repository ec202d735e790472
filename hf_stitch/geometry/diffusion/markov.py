"""Eigenpairs of the Markov matrix of a kernel: Bertalan et al. (2021), Algorithm 1, step 3."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hf_stitch.geometry.diffusion.kernel import Kernel
from hf_stitch.geometry.diffusion.spectrum import LIMITS, SolverLimits, leading, solver_for


@dataclass(frozen=True)
class Eigenpairs:
    """Leading eigenpairs of a Markov matrix, the constant one left out.

    Attributes:
        spectrum: (l,) float64 eigenvalues, descending.
        coordinates: (n, l) float64 right eigenvectors, mean square 1 in the stationary distribution.
        density: (n,) float64 row sums of the kernel.
        solver: name of what found them.
    """

    spectrum: np.ndarray
    coordinates: np.ndarray
    density: np.ndarray
    solver: str


def eigenpairs(kernel: Kernel, count: int, limits: SolverLimits = LIMITS) -> Eigenpairs:
    """The `count` leading eigenpairs of a symmetric kernel (n, n), by the solver that suits its size and shape."""
    density, degree, weights = density_normalised(kernel)
    root = np.sqrt(degree)
    known = root / np.sqrt(degree.sum())
    symmetric = weights.scaled(1 / root)
    solver = solver_for(symmetric, count, limits)
    spectrum, vectors = leading(symmetric, known, count, solver, limits)
    return Eigenpairs(spectrum, vectors / known[:, None], density, solver)


def density_normalised(kernel: Kernel) -> tuple[np.ndarray, np.ndarray, Kernel]:
    """Row sums of the kernel (n,), row sums (n,) of the kernel divided by them on both sides, and that kernel."""
    density = kernel.sums()
    weights = kernel.scaled(1 / density)
    return density, weights.sums(), weights
