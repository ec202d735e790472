"""Time and peak memory of whole sparse maps, local metrics given, and whether their neighbours are the true ones.

`python -m tests.benchmarks.scaling ROWS` prints one size as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from scipy.spatial import cKDTree

from hf_stitch.manifold.diffusion_map import DiffusionMap
from hf_stitch.manifold.graphs import recall

from .clock import in_own_process, peak_memory
from .square import NETWORKS, inputs, observed

SIZES = (1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 1_000_000)
COORDINATES = 5
BYTES_A_ROW = 14_000  # of the largest maps, measured; a size that would not fit the memory is left out


def curve() -> list[dict[str, Any]]:
    """One row a size, each from a process of its own."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return [in_own_process("scaling", n) for n in SIZES if n * BYTES_A_ROW < memory]


def whole_maps(n: int) -> dict[str, Any]:
    """Both networks' maps: seconds, recall of the true 10 nearest, spectra, and this process' peak memory."""
    x = inputs(n)
    clouds = [observed(network, x) for network in NETWORKS]
    maps, seconds, processor = [], [], []
    for points, metric in clouds:
        begin, worked = time.perf_counter(), time.process_time()
        maps.append(DiffusionMap.fit(points, metric, COORDINATES))
        seconds.append(time.perf_counter() - begin)
        processor.append(time.process_time() - worked)
    memory = peak_memory()  # before the k-d tree of the check
    first, second = (one.laplace[:COORDINATES] for one in maps)
    true = cKDTree(x.numpy()).query(x.numpy(), 11, workers=-1)[1][:, 1:]
    return {
        "n": n,
        "seconds": seconds,
        "processor_seconds": processor,  # grows over `seconds` with threads, and stays where others compute too
        "memory": memory,
        "solver": maps[0].solver,
        "recall": [recall(true, one.joined) for one in maps],
        "spectra": float((first / second - 1).abs().max()),
        "ratios": [(one / one[:2].mean()).tolist() for one in (first, second)],
    }


if __name__ == "__main__":
    print(json.dumps(whole_maps(int(sys.argv[1]))))
