"""The vector-field networks of the zoo on random points of their square: clouds of which the true geometry is known."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hf_stitch.geometry.local_metrics.local_metric import LocalMetric
from hf_stitch.zoo.catalogue import resolve_model
from hf_stitch.zoo.functions.paper import HALF
from hf_stitch.zoo.networks.tanh import TanhNetworkModel

NETWORKS = ("field-a", "field-b")
LAYER = 2  # the hook of recipes/paper/vector_fields.yaml


def inputs(n: int) -> Tensor:
    """(n, 2) float64, drawn evenly."""
    return torch.from_numpy(np.random.default_rng(0).uniform(-HALF, HALF, (n, 2)))


def observed(network: str, x: Tensor) -> tuple[Tensor, LocalMetric]:
    """Five neurons (n, 5) and the metrics of their exact Jacobians."""
    model = TanhNetworkModel.from_pretrained(resolve_model(f"zoo:{network}"))
    values, slopes = x, torch.eye(2, dtype=torch.float64)
    with torch.no_grad():
        for layer in list(model.layers)[: LAYER + 1]:
            values = torch.tanh(layer(values))
            slopes = (1 - values.square())[:, :, None] * (layer.weight @ slopes)
    return values, LocalMetric.from_jacobian(slopes)
