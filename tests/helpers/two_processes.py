"""What each of two processes does in `test_processes.py`; started by torchrun, writes what it found into a folder."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from clouds import interval, normal, warped
from safetensors.torch import save_file

from hf_stitch.errors import RecipeError
from hf_stitch.experiments import fit
from hf_stitch.geometry.diffusion.diffusion_map import DiffusionMap
from hf_stitch.geometry.diffusion.engine import TorchEngine
from hf_stitch.geometry.diffusion.spectrum import SolverLimits
from hf_stitch.geometry.local_metrics.local_metric import LocalMetric
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.runtime.runtime import Runtime
from hf_stitch.runtime.sharding import Rows

SMALL = SolverLimits(dense_rows=60, sparse_rows=60)  # makes small clouds go the way of large ones


def maps(rows: Rows) -> dict[str, torch.Tensor]:
    """Spectra and coordinates of small clouds, by engine and solver."""
    found = {}
    line, jacobian = warped(interval(400))
    cloud = normal(300, 20)
    for name, points, metric, rule, limits in (
        ("dense", line, LocalMetric.from_jacobian(jacobian, eta=0.1), "all", SolverLimits()),
        ("products", line, LocalMetric.from_jacobian(jacobian, eta=0.1), "all", SMALL),
        ("looked-up", line, LocalMetric.from_jacobian(jacobian), "grown", SolverLimits()),
        ("factorised", line, LocalMetric.from_jacobian(jacobian), "grown", SMALL),
        ("aggregated", line, LocalMetric.from_jacobian(jacobian), "grown", replace(SMALL, factors=60)),
        ("sparse-products", cloud, LocalMetric.euclidean(300, 20), "grown", replace(SMALL, separator=1)),
    ):
        more: dict[str, Any] = {"engine": TorchEngine(limits)}
        if limits != SolverLimits():
            more["table_rows"] = 60
        one = DiffusionMap.fit(points, metric, 6, rule, rows=rows, **more)  # type: ignore[arg-type]
        found |= {f"{name}.{one.solver}.spectrum": one.spectrum, f"{name}.{one.solver}.coordinates": one.coordinates}
    return found


def log_writes(folder: Path, log: Path) -> None:
    """From now on, note every file that this process writes below a folder; scratch files by their final name."""

    def note(event: str, args: tuple) -> None:
        if event == "os.rename":
            path = str(args[1])
        elif event == "open" and set(str(args[1] or "")) & set("wax+"):
            path = str(args[0])
        else:
            return
        if Path(path).is_relative_to(folder) and not Path(path).name.startswith("."):
            with os.fdopen(os.open(log, os.O_WRONLY | os.O_APPEND), "a") as file:
                file.write(f"{Path(path).relative_to(folder)}\n")

    sys.addaudithook(note)


def main(recipe: str, folder: Path) -> None:
    runtime = Runtime.start()
    rank = runtime.accelerator.process_index
    log = folder / f"written-{rank}.txt"
    log.touch()
    for watched in ("cache", "out"):
        log_writes(folder / watched, log)
    save_file(maps(runtime.rows), folder / f"maps-{rank}.safetensors")
    fit.fit(Recipe.load(recipe), folder / "out")
    try:
        Runtime.start("cpu:0")
    except RecipeError as error:
        (folder / f"refused-{rank}.txt").write_text(str(error))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
