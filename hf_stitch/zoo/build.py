"""Rebuild the zoo from its seeds: `hf-stitch zoo build`."""

from __future__ import annotations

import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hf_stitch.errors import ZooError, nearest
from hf_stitch.recipe.names import without_zoo
from hf_stitch.zoo import cards
from hf_stitch.zoo.catalogue import ROOT, data_names, model_names, shipped_data
from hf_stitch.zoo.families import family_of
from hf_stitch.zoo.speech.synthesis import require_espeak
from hf_stitch.zoo.training_loop import Progress, quiet, write_record

COMMAND = "hf-stitch zoo build"


def build(
    out: Path | None = None, only: Sequence[str] = (), progress: Callable[[str], None] = lambda message: None
) -> None:
    """Make data sets and models anew: all, or those named in `only`; in `out`, or in the package itself.

    Each part is finished in a folder of its own before it takes the place of the former one. On one machine the same
    versions give the same bytes of weights; elsewhere the figures may differ in the last digits.
    """
    chosen = _chosen(only)
    if any(family_of(name).speaks(name) for name in chosen):
        require_espeak()
    root = ROOT if out is None else Path(out)
    with quiet():
        for name in chosen:
            started = time.perf_counter()
            _build_part(name, root, partial(_report, progress, name))
            progress(f"{name}: done in {time.perf_counter() - started:.0f} s")


def _report(progress: Progress, name: str, message: str) -> None:
    progress(f"{name}: {message}")


def _chosen(only: Sequence[str]) -> list[str]:
    """Return the parts to build in order: data before the models that are measured on them."""
    known = shipped_data() + model_names()
    wanted = [without_zoo(name) for name in only] or known
    for name in wanted:
        if name not in known:
            raise ZooError(f"the zoo has no part {name!r}: {nearest(name, known, limit=len(known))}")
    return [name for name in known if name in wanted]


def _build_part(name: str, root: Path, progress: Progress) -> None:
    kind = "data" if name in data_names() else "models"
    target = root / kind / name
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{name}-") as scratch:
        folder = Path(scratch) / name
        (_make_data if kind == "data" else _make_model)(name, folder, root, progress)
        for file in folder.iterdir():
            file.chmod(0o644)  # weights are saved readable by their owner only
        if target.exists():
            shutil.rmtree(target)
        folder.rename(target)


def _make_data(name: str, folder: Path, root: Path, progress: Progress) -> None:
    family_of(name).write_data(name, folder, progress)


def _make_model(name: str, folder: Path, root: Path, progress: Progress) -> None:
    """Train one model into `folder`, measure it, and write its record and card."""
    family, started = family_of(name), time.perf_counter()
    seed, training = family.train(name, folder, progress)
    seconds = time.perf_counter() - started
    figures = family.figures(name, folder, partial(_present, root))
    record = {
        "name": name, "command": f"{COMMAND} {name}", "seed": seed, "training": training, "seconds": seconds,
        "figures": figures, "versions": _versions(name),
    }  # fmt: skip
    write_record(folder, record)
    cards.write_card(folder)


def _present(root: Path, path: str) -> Path | None:
    return next((base / path for base in (root, ROOT) if (base / path).is_dir()), None)


def _versions(name: str) -> dict[str, str]:
    found: dict[str, Any] = {"python": platform.python_version()}
    found |= {package: version(package) for package in ("torch", "transformers")}
    if family_of(name).speaks(name):
        spoken = subprocess.run([require_espeak(), "--version"], capture_output=True, text=True, check=False).stdout
        found["espeak-ng"] = spoken.split("text-to-speech:")[-1].split()[0] if spoken.split() else "unknown"
    return found
