"""Whole jobs beside other libraries: eigenmaps beside scikit-learn, splines beside SciPy."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch

from hf_stitch.manifold.diffusion_map import DiffusionMap
from hf_stitch.manifold.interpolation import ThinPlate
from hf_stitch.manifold.local_metric import LocalMetric

from .clock import best_times
from .square import inputs, observed

COORDINATES = 5


def beside_spectral_embedding(n: int = 20_000, rounds: int = 3) -> list[dict[str, Any]]:
    """Eigenmaps of five neurons, neighbours included: the same Euclidean job, and the whole Mahalanobis map."""
    from sklearn.manifold import SpectralEmbedding

    points, metric = observed("field-a", inputs(n))
    plain = LocalMetric.euclidean(*points.shape)
    theirs = SpectralEmbedding(COORDINATES, affinity="nearest_neighbors", n_neighbors=10, random_state=0)
    jobs = {
        "10 Euclidean neighbours": lambda: DiffusionMap.fit(points, plain, COORDINATES, neighbours=10),
        "Mahalanobis metric, grown neighbours": lambda: DiffusionMap.fit(points, metric, COORDINATES),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = best_times(jobs | {"theirs": lambda: theirs.fit_transform(points.numpy())}, rounds)
    return [
        {
            "what": f"diffusion map, {COORDINATES} coordinates, {job}",
            "size": f"n {n}, m {points.shape[1]}",
            "other": "scikit-learn SpectralEmbedding, 10 Euclidean neighbours",
            "ours": found[job],
            "theirs": found["theirs"],
            "ratio": found["theirs"] / found[job],
        }
        for job in jobs
    ]


def beside_rbf_interpolator(n: int = 3000, rounds: int = 3) -> list[dict[str, Any]]:
    """Thin-plate splines through n rows of 48 features with 32 values: the fit, and 1,024 new rows."""
    from scipy.interpolate import RBFInterpolator

    generator = torch.Generator().manual_seed(0)
    points = torch.randn(n, 48, generator=generator, dtype=torch.float64)
    points /= (points - points.mean(0)).square().mean().sqrt()
    values = torch.tanh(points @ torch.randn(48, 32, generator=generator, dtype=torch.float64) / 7)
    rows = torch.randn(1024, 48, generator=generator, dtype=torch.float64)
    kept: dict[str, Any] = {}

    def fit() -> None:
        kept["ours"] = ThinPlate.fit(points, values)

    def their_fit() -> None:
        kept["theirs"] = RBFInterpolator(points.numpy(), values.numpy(), kernel="thin_plate_spline")

    fitted = best_times({"ours": fit, "theirs": their_fit}, rounds)
    actions = {"ours": lambda: kept["ours"](rows), "theirs": lambda: kept["theirs"](rows.numpy())}
    with torch.no_grad():
        told = best_times(actions, rounds)
        gap = float(np.abs(kept["ours"](rows).numpy() - kept["theirs"](rows.numpy())).max())
    common = {"size": f"n {n}, m 48, 32 values", "details": {"largest_difference": gap}}
    return [
        {"what": what, "other": "SciPy RBFInterpolator", **found, "ratio": found["theirs"] / found["ours"], **common}
        for what, found in (("thin-plate spline: fit", fitted), ("thin-plate spline: 1,024 new rows", told))
    ]
