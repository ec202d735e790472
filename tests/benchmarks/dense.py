"""The dense Mahalanobis kernel: beside bare products, beside datafold, and its memory.

`python -m tests.benchmarks.dense ROWS` prints the memory of one kernel as JSON.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
from torch import Tensor

from hf_stitch.manifold.local_metric import LocalMetric
from hf_stitch.manifold.mahalanobis import block_entries, squared_distances

from .clock import Action, best_times, in_own_process, peak_memory

FEATURES, RANK = 128, 32


def cloud(n: int, rank: int, dtype: torch.dtype) -> tuple[Tensor, LocalMetric]:
    """Random points (n, 128) and factors of a truncated metric."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(n, FEATURES, generator=generator, dtype=dtype)
    factors = torch.randn(n, rank, FEATURES, generator=generator, dtype=dtype).div_(FEATURES**0.5)
    return points, LocalMetric(torch.zeros(n, dtype=dtype), factors, 1)


def bare_products(points: Tensor, factors: Tensor, high: int, wide: int) -> None:
    """All W_i Y^T in blocks of `high` metrics and `wide` points, into one buffer: the least that has to be computed."""
    n, rank, m = factors.shape
    space = points.new_empty(high * rank * wide)
    for begin in range(0, n, high):
        rows = factors[begin : begin + high].reshape(-1, m)
        for left in range(0, n, wide):
            part = points[left : left + wide]
            torch.mm(rows, part.T, out=space[: len(rows) * len(part)].view(len(rows), len(part)))


def beside_products(n: int = 4096, rounds: int = 5) -> dict[str, Any]:
    """Share of the speed of the fastest bare products."""
    points, metric = cloud(n, RANK, torch.float32)
    shapes = [(high, wide) for high in (4, 16, 64) for wide in (512, 1024, n)]
    actions = {f"{a} x {b}": lambda a=a, b=b: bare_products(points, metric.factors, a, b) for a, b in shapes}
    found = best_times({"ours": lambda: squared_distances(points, metric), **actions}, rounds)
    ours = found.pop("ours")
    quickest = min(found, key=found.__getitem__)
    return {
        "what": "dense kernel: squared distances of all pairs, float32, share of the speed of bare products W Y^T",
        "size": f"n {n}, m {FEATURES}, r {RANK}",
        "other": f"products in blocks of {quickest}, the fastest",
        "ours": ours,
        "theirs": found[quickest],
        "ratio": found[quickest] / ours,
        "details": {"blocks": found},
    }


def beside_datafold(n: int = 800, rounds: int = 5) -> list[dict[str, Any]]:
    """datafold's MahalanobisKernel runs once, for it takes half a minute; it has a factor 1/2 that is allowed for.

    It computes in float64; ours in either precision.
    """
    from datafold.pcfold.distance import BruteForceDist
    from datafold.pcfold.kernels import MahalanobisKernel

    points, metric = cloud(n, FEATURES, torch.float64)
    inverse = (metric.factors.mT @ metric.factors).numpy()
    bandwidth = float(squared_distances(points, metric).median())
    kept: dict[str, torch.Tensor] = {}

    def theirs() -> None:
        kernel = MahalanobisKernel(epsilon=bandwidth / 2, distance=BruteForceDist(metric="euclidean"))
        found = kernel(points.numpy(), cov_matrices=inverse)
        kept["theirs"] = torch.from_numpy(found.toarray())

    def ours(dtype: torch.dtype) -> Action:
        data = points.to(dtype), LocalMetric(metric.scale.to(dtype), metric.factors.to(dtype), 1)

        def compute() -> None:
            kept[str(dtype)] = torch.exp(squared_distances(*data) / (-2 * bandwidth))

        return compute

    dtypes = (torch.float32, torch.float64)
    found = best_times({str(dtype): ours(dtype) for dtype in dtypes}, rounds) | best_times({"theirs": theirs}, 1)
    rows = []
    for name in map(str, dtypes):
        gap = (kept[name] - kept["theirs"]).fill_diagonal_(0)  # their diagonal is 0
        rows.append(
            {
                "what": f"dense kernel, {name.removeprefix('torch.')}",
                "size": f"n {n}, m {FEATURES}, r {FEATURES}",
                "other": "datafold MahalanobisKernel (float64)",
                "ours": found[name],
                "theirs": found["theirs"],
                "ratio": found["theirs"] / found[name],
                "details": {"largest_difference": float(gap.abs().max())},
            }
        )
    return rows


def memory(n: int = 20_000, itemsize: int = 4) -> dict[str, Any]:
    """Peak memory of `squared_distances` in float32 beyond its input and its result."""
    found = in_own_process("dense", n)
    return {
        "what": "dense kernel, float32: memory beyond points, metrics and the matrix of distances itself",
        "size": f"n {n}, m {FEATURES}, r {RANK}",
        "ours": found["seconds"],
        "memory": found["beyond"],
        "details": found | {"block": block_entries(itemsize) * itemsize},
    }


def _memory(n: int) -> dict[str, Any]:
    squared_distances(*cloud(500, RANK, torch.float32))  # the libraries' own buffers are there before
    points, metric = cloud(n, RANK, torch.float32)
    before, result = peak_memory(), 4 * n * n
    seconds = best_times({"ours": lambda: squared_distances(points, metric)}, 1)["ours"]
    return {"seconds": seconds, "result": result, "beyond": peak_memory() - before - result}


if __name__ == "__main__":
    print(json.dumps(_memory(int(sys.argv[1]))))
