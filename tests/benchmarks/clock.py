"""Times that can be compared: actions take turns in one process, and the median of each counts."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import torch

ROOT = Path(__file__).parents[2]
PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "datafold")
Action = Callable[[], object]
Row = dict[str, Any]


def median_times(actions: Mapping[str, Action], rounds: int) -> dict[str, float]:
    """Median seconds of each action over `rounds` rounds; they take turns, so that all see the same machine."""
    found: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            found[name].append(seconds(action))
    return {name: statistics.median(times) for name, times in found.items()}


def seconds(action: Action) -> float:
    """Seconds that an action takes."""
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def beside(what: str, size: str, ours: float, other: str, theirs: float, **more: Any) -> Row:
    """A row that compares: `ratio` is how many times quicker ours is."""
    return {"what": what, "size": size, "ours": ours, "other": other, "theirs": theirs, "ratio": theirs / ours, **more}


def told(rows: Callable[..., Iterator[Row]]) -> None:
    """Print rows as JSON, one a line, with the machine; the only word, where there is one, is the size."""
    words = [int(word) for word in sys.argv[1:]]
    common = {"threads": torch.get_num_threads(), "machine": machine()}
    try:
        for row in rows(*words):
            print(json.dumps(common | row | {"taken": now()}), flush=True)
    except ModuleNotFoundError as error:
        sys.exit(f"{error}: see python -m tests.benchmarks --help for the extras")


def in_own_process(module: str, *words: object) -> Row:
    """What `python -m tests.benchmarks.MODULE one WORDS` prints as JSON: its peak memory is its own."""
    command = [sys.executable, "-m", f"tests.benchmarks.{module}", "one", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def resident() -> int:
    """Resident size of this process now, in bytes."""
    return psutil.Process().memory_info().rss


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def now() -> str:
    """Date and time to the minute."""
    return datetime.datetime.now().isoformat(" ", "minutes")


def load() -> float:
    """Processes that wanted a core in the last minute: tells whether others were computing at the same time."""
    return round(os.getloadavg()[0], 2)


def machine() -> dict[str, Any]:
    """What was computed on and with."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {"processor": _processor(), "cores": cores(), "python": platform.python_version(), "versions": versions}


def _processor() -> str:
    known = Path("/proc/cpuinfo")
    if known.exists():
        for line in known.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
