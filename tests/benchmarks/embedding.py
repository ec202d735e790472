"""Eigenmaps beside scikit-learn's, neighbours included: the same Euclidean job, and the whole Mahalanobis map."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

from hf_stitch.geometry.diffusion.diffusion_map import DiffusionMap
from hf_stitch.geometry.local_metrics.local_metric import LocalMetric

from .clock import Row, beside, median_times, told
from .square import inputs, observed

COORDINATES = 5
NEIGHBOURS = 10


def rows(size: int = 20_000, rounds: int = 3) -> Iterator[Row]:
    """Five coordinates of five neurons of a network on a square."""
    from sklearn.manifold import SpectralEmbedding

    points, metric = observed("field-a", inputs(size))
    plain = LocalMetric.euclidean(*points.shape)
    theirs = SpectralEmbedding(COORDINATES, affinity="nearest_neighbors", n_neighbors=NEIGHBOURS, random_state=0)
    jobs = {
        f"{NEIGHBOURS} Euclidean neighbours": lambda: DiffusionMap.fit(
            points, plain, COORDINATES, neighbours=NEIGHBOURS
        ),
        "Mahalanobis metric, grown neighbours": lambda: DiffusionMap.fit(points, metric, COORDINATES),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = median_times(jobs | {"theirs": lambda: theirs.fit_transform(points.numpy())}, rounds)
    for job in jobs:
        yield beside(
            f"diffusion map, {COORDINATES} coordinates, {job}",
            f"n {size}, m {points.shape[1]}",
            found[job],
            f"scikit-learn SpectralEmbedding, {NEIGHBOURS} Euclidean neighbours",
            found["theirs"],
            rounds=rounds,
        )


if __name__ == "__main__":
    told(rows)
