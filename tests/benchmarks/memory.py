"""Memory of the dense kernel: what it needs beyond its input and its result follows the size of its blocks."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import torch

from hf_stitch.geometry.local_metrics.mahalanobis import block_entries, squared_distances
from hf_stitch.runtime.environment import peak_memory

from .clock import Row, in_own_process, resident, seconds, told
from .clouds import FEATURES, cloud

RANK = 32
ITEM = 4  # bytes of a float32
LARGER = 256  # times the usual block


def rows(size: int = 20_000) -> Iterator[Row]:
    """One row a size of block, each from a process of its own."""
    for block in (block_entries(ITEM), LARGER * block_entries(ITEM)):
        found = in_own_process("memory", size, block)
        yield {
            "what": f"dense kernel, float32, blocks of {block * ITEM / 2**20:.0f} MiB: memory beyond input and result",
            "size": f"n {size}, m {FEATURES}, r {RANK}",
            "ours": found["seconds"],
            "memory": found["beyond"],
            **found,
        }


def one(n: int, block: int) -> Row:
    """Peak of the resident size over what it was before, less the matrix of distances, in bytes."""
    squared_distances(*cloud(300, RANK, torch.float32))  # the libraries' own buffers are there before
    points, metric = cloud(n, RANK, torch.float32)
    before, result = resident(), ITEM * n * n
    took = seconds(lambda: squared_distances(points, metric, block))
    peak = peak_memory()
    return {"seconds": took, "peak": peak, "result": result, "beyond": max(0, peak - before - result)}


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        print(json.dumps(one(*map(int, sys.argv[2:]))))
    else:
        told(rows)
