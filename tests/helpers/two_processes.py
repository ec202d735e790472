"""What each of two processes does in `test_processes.py`; started by torchrun, writes what it found into a folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from clouds import interval, normal, warped
from safetensors.torch import save_file

from hf_stitch.errors import RecipeError
from hf_stitch.experiments import fit, output_folder
from hf_stitch.geometry.diffusion import spectrum
from hf_stitch.geometry.diffusion.diffusion_map import DiffusionMap
from hf_stitch.geometry.local_metrics.local_metric import LocalMetric
from hf_stitch.geometry.neighbours import neighbour_rules as neighbours
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.runtime import part_store
from hf_stitch.runtime.runtime import Runtime
from hf_stitch.runtime.sharding import Rows

SMALL = {"DENSE_ROWS": 60, "SPARSE_ROWS": 60}  # makes small clouds go the way of large ones


def maps(rows: Rows) -> dict[str, torch.Tensor]:
    """Spectra and coordinates of small clouds, by engine and solver."""
    found = {}
    line, jacobian = warped(interval(400))
    cloud = normal(300, 20)
    for name, points, metric, rule, constants in (
        ("dense", line, LocalMetric.from_jacobian(jacobian, eta=0.1), "all", {}),
        ("products", line, LocalMetric.from_jacobian(jacobian, eta=0.1), "all", SMALL),
        ("looked-up", line, LocalMetric.from_jacobian(jacobian), "grown", {}),
        ("factorised", line, LocalMetric.from_jacobian(jacobian), "grown", SMALL),
        ("aggregated", line, LocalMetric.from_jacobian(jacobian), "grown", {**SMALL, "FACTORS": 60}),
        ("sparse-products", cloud, LocalMetric.euclidean(300, 20), "grown", {**SMALL, "SEPARATOR": 1}),
    ):
        kept = {(part, key): getattr(part, key) for part in (neighbours, spectrum) for key in constants
                if hasattr(part, key)}  # fmt: skip
        for part, key in kept:
            setattr(part, key, constants[key])
        one = DiffusionMap.fit(points, metric, 6, rule, rows=rows)  # type: ignore[arg-type]
        for (part, key), value in kept.items():
            setattr(part, key, value)
        found |= {f"{name}.{one.solver}.spectrum": one.spectrum, f"{name}.{one.solver}.coordinates": one.coordinates}
    return found


def logged(function: Any, log: Path, name: Any) -> Any:
    """`function`, which notes in a file that it was called."""

    def call(*args: Any) -> Any:
        with log.open("a") as file:
            file.write(f"{name(*args)}\n")
        return function(*args)

    return call


def main(recipe: str, folder: Path) -> None:
    runtime = Runtime.start()
    rank = runtime.accelerator.process_index
    log = folder / f"written-{rank}.txt"
    log.touch()
    part_store.PartStore.write = logged(part_store.PartStore.write, log, lambda *args: args[1])  # type: ignore[method-assign]
    output_folder.save_model = logged(output_folder.save_model, log, lambda *args: "model")
    output_folder.open_folder = logged(output_folder.open_folder, log, lambda *args: "folder")
    save_file(maps(runtime.rows), folder / f"maps-{rank}.safetensors")
    fit.fit(Recipe.load(recipe), folder / "out")
    try:
        Runtime.start("cpu:0")
    except RecipeError as error:
        (folder / f"refused-{rank}.txt").write_text(str(error))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
