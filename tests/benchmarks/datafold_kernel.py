"""The dense Mahalanobis kernel beside datafold's, both with the exponential.

datafold computes in float64, with whole matrices; ours in either precision, with factors. Its factor 1/2 is allowed
for, and so is its diagonal of 0.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from hf_stitch.geometry.local_metrics.local_metric import LocalMetric
from hf_stitch.geometry.local_metrics.mahalanobis import squared_distances

from .clock import Action, Row, beside, median_times, told
from .clouds import FEATURES, cloud

DTYPES = {"float32": torch.float32, "float64": torch.float64}


def rows(size: int = 800, rounds: int = 3) -> Iterator[Row]:
    """One row a precision; `largest_difference` is that of the kernels' entries, which are at most 1."""
    from datafold.pcfold.distance import BruteForceDist
    from datafold.pcfold.kernels import MahalanobisKernel

    points, metric = cloud(size, FEATURES, torch.float64)
    inverse = (metric.factors.mT @ metric.factors).numpy()
    bandwidth = float(squared_distances(points, metric).median())
    kept: dict[str, torch.Tensor] = {}

    def theirs() -> None:
        kernel = MahalanobisKernel(epsilon=bandwidth / 2, distance=BruteForceDist(metric="euclidean"))
        kept["theirs"] = torch.from_numpy(kernel(points.numpy(), cov_matrices=inverse).toarray())

    def ours(name: str) -> Action:
        dtype = DTYPES[name]
        data = points.to(dtype), LocalMetric(metric.scale.to(dtype), metric.factors.to(dtype), 1)

        def compute() -> None:
            kept[name] = squared_distances(*data).div_(-2 * bandwidth).exp_()

        return compute

    found = median_times({**{name: ours(name) for name in DTYPES}, "theirs": theirs}, rounds)
    for name in DTYPES:
        gap = (kept[name] - kept["theirs"]).fill_diagonal_(0)
        yield beside(
            f"dense kernel, {name}",
            f"n {size}, m {FEATURES}, r {FEATURES}",
            found[name],
            "datafold MahalanobisKernel (float64)",
            found["theirs"],
            rounds=rounds,
            largest_difference=float(gap.abs().max()),
        )


if __name__ == "__main__":
    told(rows)
