"""Time and peak memory of whole sparse maps, local metrics given, and whether their neighbours are the true ones."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Iterator

from scipy.spatial import cKDTree

from hf_stitch.geometry.diffusion.diffusion_map import DiffusionMap
from hf_stitch.geometry.neighbours.graphs import recall
from hf_stitch.runtime.environment import peak_memory

from .clock import Row, in_own_process, told
from .square import NETWORKS, inputs, observed

SIZES = (1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000)
COORDINATES = 5
ROUNDS = 3
ENOUGH = 180.0  # seconds: no further round is begun that would end after them


def rows(size: int | None = None) -> Iterator[Row]:
    """A row a number of points, each map from a process of its own; sizes take turns, the median time counts."""
    begin, found = time.monotonic(), dict[int, list[Row]]()
    for done in range(1, ROUNDS + 1 if size is None else 2):
        for n in SIZES if size is None else (size,):
            found.setdefault(n, []).append(in_own_process("scaling", n))
            yield _middle(found[n])
        if (time.monotonic() - begin) * (done + 1) / done > ENOUGH:
            return


def _middle(found: list[Row]) -> Row:
    """The run whose time is in the middle, with the largest memory of all."""
    times = [sum(one["seconds"]) for one in found]
    middle = found[times.index(statistics.median_low(times))]
    return middle | {"memory": max(one["memory"] for one in found), "all_seconds": times}


def one(n: int) -> Row:
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
        "what": "both vector-field maps",
        "size": f"n {n}",
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
    if sys.argv[1:2] == ["one"]:
        print(json.dumps(one(*map(int, sys.argv[2:]))))
    else:
        told(rows)
