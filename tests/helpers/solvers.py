"""Small clouds through any solver of ours, or through the engine datafold."""

import pytest
import torch

from hf_stitch.geometry.diffusion import spectrum
from hf_stitch.geometry.diffusion.diffusion_map import DiffusionMap
from hf_stitch.geometry.diffusion.engine import engine
from hf_stitch.geometry.local_metrics.local_metric import LocalMetric
from hf_stitch.geometry.neighbours import neighbour_rules as neighbours

OURS = ("dense", "lanczos", "shift-invert", "lobpcg")
SOLVERS = (*OURS, pytest.param("datafold", marks=pytest.mark.datafold))
ENGINES = ("torch", pytest.param("datafold", marks=pytest.mark.datafold))


def force(solver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the rule of choice take this solver for small clouds, and the sparse way there for all but `dense`."""
    monkeypatch.setattr(spectrum, "SPARSE_ROWS", 10**9 if solver == "dense" else 10)
    if solver in ("dense", "datafold"):
        return
    monkeypatch.setattr(neighbours, "DENSE_ROWS", 10)
    monkeypatch.setattr(spectrum, "DENSE_ROWS", 10)
    monkeypatch.setattr(spectrum, "SEPARATOR", 1 if solver == "lanczos" else 10**9)
    monkeypatch.setattr(spectrum, "FACTORS", 10 if solver == "lobpcg" else 10**9)
    if solver == "lobpcg":
        chosen = spectrum.solver_for
        monkeypatch.setattr(spectrum, "solver_for", lambda a, k: "dense" if a.shape[0] < 150 else chosen(a, k))


def fit(solver: str, points: torch.Tensor, count: int, metric: LocalMetric | None = None) -> DiffusionMap:
    """The map by a forced solver; Euclidean without a metric."""
    by = engine("datafold" if solver == "datafold" else "torch")
    found = DiffusionMap.fit(points, metric or LocalMetric.euclidean(*points.shape), count, engine=by)
    assert found.solver == solver
    return found
