"""Local metrics of an opened recipe, and data of rows of numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pico_recipes import correspondence

from hf_stitch.geometry.local_metrics.local_metric import LocalMetric
from hf_stitch.recipe.side import Role


def metric_of(content: dict[str, Any], role: Role = "source") -> tuple[LocalMetric, dict[str, Any]]:
    """Local metrics of a recipe's fit rows, and their summary."""
    return correspondence(content).metric(role)


def vectors(folder: Path) -> dict[str, Any]:
    """Two tanh networks of two inputs, saved, with rows of numbers."""
    import json

    from hf_stitch.zoo.networks.tanh import TanhNetworkConfig, TanhNetworkModel

    for seed in (0, 1):
        torch.manual_seed(seed)
        TanhNetworkModel(TanhNetworkConfig([2, 8, 8, 1])).double().save_pretrained(folder / f"net-{seed}")
    draws = torch.rand(30, 2, generator=torch.Generator().manual_seed(0)).tolist()
    (folder / "fit.jsonl").write_text("\n".join(json.dumps({"x": row}) for row in draws))
    sides = {
        side: {"model": str(folder / f"net-{i}"), "hook": "activations.1"}
        for i, side in enumerate(("source", "target"))
    }
    data = {"fit": {"dataset": str(folder / "fit.jsonl"), "columns": {"source": "x"}}}
    return {**sides, "data": data}
