"""Symmetric eigenproblems: LAPACK through NumPy on the CPU, where batched torch.linalg.eigh is tens of times slower."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

NOISE = 1e-10  # by hand: variances below this share of the largest are rounding, and never inverted


def _principal_rows(buffer: Tensor) -> tuple[Tensor, Tensor]:
    # The Gram matrix of the few rows is far cheaper than a batched SVD; float64 keeps variances down to NOISE.
    wide = buffer.double()
    if wide.shape[1] <= wide.shape[2]:
        moments, vectors = eigh(wide @ wide.mT)
        moments, vectors = moments.flip(1).clamp_min(0), vectors.flip(2)
        lengths = moments.sqrt()
        real = moments > NOISE * moments[:, :1]
        directions = vectors.mT @ wide / lengths.where(real, 1.0)[..., None]
        directions, moments = directions * real[..., None], moments.where(real, 0.0)
    else:
        moments, vectors = eigh(wide.mT @ wide)
        directions, moments = vectors.flip(2).mT, moments.flip(1).clamp_min(0)
    return directions.to(buffer.dtype), moments


def eigh(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Ascending eigenvalues (..., k) and eigenvectors (..., k, k) of symmetric matrices."""
    if matrices.device.type != "cpu":
        values, vectors = torch.linalg.eigh(matrices)
        return values, vectors
    found = np.linalg.eigh(matrices.detach().numpy())
    return torch.from_numpy(found.eigenvalues), torch.from_numpy(found.eigenvectors)
