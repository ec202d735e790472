"""The dense Mahalanobis kernel beside the matrix products that it cannot do without, at one thread and at all cores."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from hf_stitch.geometry.local_metrics.mahalanobis import squared_distances

from .clock import Row, beside, cores, median_times, told
from .clouds import FEATURES, cloud

RANK = 32
HIGH = (4, 8, 16, 32, 64)  # metrics in a block of products
WIDE = (512, 1024, 2048, 4096)  # points in it
QUICK = 3  # blocks that are timed again, those that were quickest once


def rows(size: int = 4096, rounds: int = 5) -> Iterator[Row]:
    """Share of the speed of the products in the quickest of their blocks."""
    points, metric = cloud(size, RANK, torch.float32)
    products = {
        f"{high} x {wide}": _products(points, metric.factors, high, wide)
        for high in HIGH
        for wide in WIDE
        if wide <= max(size, WIDE[0])
    }
    usual = torch.get_num_threads()
    try:
        for threads in sorted({1, cores()}):
            torch.set_num_threads(threads)
            once = median_times(products, 1)
            quick = {name: products[name] for name in sorted(once, key=once.__getitem__)[:QUICK]}
            found = median_times({"ours": lambda: squared_distances(points, metric), **quick}, rounds)
            ours = found.pop("ours")
            best = min(found, key=found.__getitem__)
            yield beside(
                f"dense kernel, float32, {threads} thread{'s'[: threads > 1]}: squared distances of all pairs",
                f"n {size}, m {FEATURES}, r {RANK}",
                ours,
                f"bare products W Y^T in blocks of {best}, the quickest",
                found[best],
                threads=threads,
                rounds=rounds,
                blocks=once,
            )
    finally:
        torch.set_num_threads(usual)


def _products(points: Tensor, factors: Tensor, high: int, wide: int) -> Callable[[], None]:
    """All W_i Y^T in blocks of `high` metrics and `wide` points, into one buffer: the least that has to be computed."""

    def compute() -> None:
        n, rank, m = factors.shape
        space = points.new_empty(high * rank * wide)
        for begin in range(0, n, high):
            images = factors[begin : begin + high].reshape(-1, m)
            for left in range(0, n, wide):
                part = points[left : left + wide]
                torch.mm(images, part.T, out=space[: len(images) * len(part)].view(len(images), len(part)))

    return compute


if __name__ == "__main__":
    told(rows)
