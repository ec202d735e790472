"""Small clouds through any solver of ours, or through the engine datafold."""

import pytest
import torch

from hf_stitch.geometry.diffusion.diffusion_map import DiffusionMap
from hf_stitch.geometry.diffusion.engine import TorchEngine, engine
from hf_stitch.geometry.diffusion.spectrum import SolverLimits
from hf_stitch.geometry.local_metrics.local_metric import LocalMetric

OURS = ("dense", "lanczos", "shift-invert", "lobpcg")
SOLVERS = (*OURS, pytest.param("datafold", marks=pytest.mark.datafold))
ENGINES = ("torch", pytest.param("datafold", marks=pytest.mark.datafold))
NEVER = 10**9

# By these the rule of choice takes each solver for small clouds; aggregated clouds below 150 rows are solved densely.
LIMITS = {
    "dense": SolverLimits(sparse_rows=NEVER),
    "lanczos": SolverLimits(dense_rows=10, sparse_rows=10, separator=1, factors=NEVER),
    "shift-invert": SolverLimits(dense_rows=10, sparse_rows=10, separator=NEVER, factors=NEVER),
    "lobpcg": SolverLimits(dense_rows=149, sparse_rows=149, separator=NEVER, factors=10),
}


def fit(solver: str, points: torch.Tensor, count: int, metric: LocalMetric | None = None) -> DiffusionMap:
    """The map by a forced solver, distances computed one by one for all but `dense`; Euclidean without a metric."""
    by = engine("datafold") if solver == "datafold" else TorchEngine(LIMITS[solver])
    more = {} if solver in ("dense", "datafold") else {"table_rows": 10}
    found = DiffusionMap.fit(points, metric or LocalMetric.euclidean(*points.shape), count, engine=by, **more)
    assert found.solver == solver
    return found
