"""Symmetric eigenproblems: LAPACK through NumPy on the CPU, where batched torch.linalg.eigh is tens of times slower."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def eigh(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Ascending eigenvalues (..., k) and eigenvectors (..., k, k) of symmetric matrices."""
    if matrices.device.type != "cpu":
        values, vectors = torch.linalg.eigh(matrices)
        return values, vectors
    found = np.linalg.eigh(matrices.detach().numpy())
    return torch.from_numpy(found.eigenvalues), torch.from_numpy(found.eigenvectors)
