"""A recipe tried out before anything is downloaded: random weights of the true shapes, synthetic samples, no network.

Hook points, lengths, kinds of output and numbers of rows are checked by the fit's own code; its time, memory and disk
are measured on a few samples and extended to the recipe's numbers.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from hf_stitch.errors import RecipeError
from hf_stitch.experiments.rehearsal.estimate import disk, download, memory, stages
from hf_stitch.experiments.rehearsal.small_run import Rehearsed, run_small, sealed
from hf_stitch.models.cost import cost_of
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.recipe.side import SIDES
from hf_stitch.runtime.cache import cache_folder
from hf_stitch.runtime.environment import environment
from hf_stitch.runtime.progress import Progress
from hf_stitch.runtime.progress_bars import chosen
from hf_stitch.runtime.runtime import Runtime

FORMAT = 1  # of the file NAME.rehearsal.json


@dataclass(frozen=True)
class Rehearsal:
    """What a rehearsal found, as plain data (`content`): see `rehearse`."""

    content: dict[str, Any]

    @property
    def warnings(self) -> list[str]:
        return list(self.content["warnings"])


def rehearse(
    recipe: Recipe | Mapping[str, Any] | str | Path,
    overrides: tuple[str, ...] = (),
    *,
    device: str | None = None,
    dtype: str | None = None,
    progress: Progress | bool | None = None,
) -> Rehearsal:
    """Try a recipe on stand-ins of its models and data.

    Returns:
        Its content is `{schema, recipe, fingerprint, environment, models, rows, lengths, parameters, rehearsed,
        stages: [{stage, measured_s, expected_s, rule}], expected: {seconds, download_bytes, disk_bytes,
        memory_bytes}, warnings, notes}`.

    Raises:
        StitchError: what the fit would refuse too, or a model whose configuration is not at hand.
    """
    asked = Recipe.of(recipe, overrides)
    # Before the cache is moved to a scratch folder: what is free where the real run will write.
    begin, free = time.perf_counter(), shutil.disk_usage(_existing(cache_folder())).free
    torch.manual_seed(asked.seed)
    with tempfile.TemporaryDirectory(prefix="hf-stitch-rehearsal-") as folder:
        scratch = Path(folder)
        with sealed(scratch):
            runtime = Runtime.start(device, dtype, chosen(progress))
            if runtime.accelerator.num_processes > 1:
                raise RecipeError("a rehearsal runs in one process; start it without torchrun or accelerate launch")
            seen = run_small(asked, runtime, scratch)
            return Rehearsal(_content(asked, seen, runtime, free, time.perf_counter() - begin))


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _content(asked: Recipe, seen: Rehearsed, runtime: Runtime, free: int, took: float) -> dict[str, Any]:
    found, peaks, space, fetched = stages(seen), memory(seen), disk(seen), download(seen)
    sizes, frames, lost = seen.sizes, seen.observations.frames["fit"], list[str]()
    expected = {
        "seconds": sum(stage.expected for stage in found),
        "download_bytes": {name: int(count) for name, count in fetched.items()},
        "disk_bytes": {name: int(count) for name, count in space.items()},
        "memory_bytes": {**{name: int(count) for name, count in peaks.items()}, "peak": int(max(peaks.values()))},
    }
    return {
        "schema": FORMAT,
        "recipe": {"name": asked.name, **asked.plain()},
        "fingerprint": asked.fingerprint(),
        "environment": environment(runtime),
        "models": {role: _model(seen, i) for i, role in enumerate(SIDES)},
        "rows": {"expected": seen.real_rows, "rehearsed": list(seen.rows)},
        "lengths": {
            role: round(float(ragged.lengths.double().mean()) * (sizes.stretch if ragged.lengths.max() > 1 else 1))
            for role, ragged in (("source", frames.source), ("target", frames.target))
        },
        "parameters": cost_of(seen.model, *seen.hooked, lost),
        "rehearsed": {
            "samples": sizes.samples,
            "neighbours": sizes.neighbours,
            "shorter_by": sizes.stretch,
            "seconds": took,
            "memory_peak_bytes": seen.watch.resident,
        },
        "asked": {"samples": sizes.real, "neighbours": sizes.real_neighbours},
        "stages": [stage.plain() for stage in found],
        "expected": expected,
        "warnings": _warnings(seen, expected, free) + lost,
        "notes": seen.notes + _notes(seen),
    }


def _model(seen: Rehearsed, side: int) -> dict[str, Any]:
    end = seen.hooked[side]
    return {
        "model": end.side.model,
        "class": type(end.model).__name__,
        "configuration": seen.origins[side],
        "hook": end.point.module,
        "layout": end.point.layout,
        "width": end.point.width,
        "features": len(end.features) if end.features is not None else end.point.width,
        "parameters": sum(p.numel() for p in end.model.parameters()),
    }


def _warnings(seen: Rehearsed, expected: dict[str, Any], free: int) -> list[str]:
    found = []
    peak, has = expected["memory_bytes"]["peak"], psutil.virtual_memory().total
    if peak > has:
        cause = max((v, k) for k, v in expected["memory_bytes"].items() if k != "peak")[1]
        found.append(
            f"the real run needs about {peak / 1e9:.0f} GB of memory at {cause}, this machine has {has / 1e9:.0f} GB: "
            "take shorter or fewer samples or neighbours, or another machine"
        )
    needed = sum(expected["disk_bytes"].values())
    if needed > free:
        found.append(
            f"the real run writes about {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free in the cache's folder; "
            "set HF_STITCH_CACHE to a roomier one"
        )
    return found


def _notes(seen: Rehearsed) -> list[str]:
    found = []
    unknown = [split for split, known in seen.sizes.counted.items() if not known]
    if unknown:
        count = seen.recipe.rehearse.samples
        found.append(f"data.{', data.'.join(unknown)}: size unknown, counted as {count:,}; say rehearse.samples")
    if seen.recipe.compare:
        found.append(f"{len(seen.recipe.compare)} comparisons: their evaluation is counted, their own fits are not")
    return found
