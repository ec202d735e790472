"""What was seen at a hook point: rows of activations with keys, and the local metric round each row."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hf_stitch.errors import ActivationError
from hf_stitch.geometry.local_metrics.local_metric import LocalMetric


@dataclass(frozen=True)
class ActivationSet:
    """Activations of one model at one hook point.

    Attributes:
        values: (n, m) float: the selected features.
        keys: (n, 2) int64: sample number and position; sets are paired by key, never by position.
        metric: local metric of each row on the selected features, or None.
        full: (n, M) all features of the layer when `values` is a selection of them; None when it is not.
        selected: the columns of `full` that `values` holds.
    """

    values: Tensor
    keys: Tensor
    metric: LocalMetric | None = None
    full: Tensor | None = None
    selected: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.keys.shape != (len(self.values), 2):
            shapes = f"{tuple(self.values.shape)} and {tuple(self.keys.shape)}"
            raise ActivationError(f"an activation set takes values (n, m) and keys (n, 2); got {shapes}")

    def __len__(self) -> int:
        return len(self.values)

    def take(self, index: Tensor) -> ActivationSet:
        """Rows by number, in the order of `index`."""
        return replace(
            self,
            values=self.values[index],
            keys=self.keys[index],
            metric=None if self.metric is None else self.metric.take(index),
            full=None if self.full is None else self.full[index],
        )


def paired(source: ActivationSet, target: ActivationSet) -> tuple[ActivationSet, ActivationSet]:
    """The rows whose keys occur in both sets, in key order.

    Raises:
        ActivationError: a key occurs twice in one set, or no key occurs in both.
    """
    places = []
    for name, rows in (("source", source), ("target", target)):
        found = {tuple(key): i for i, key in enumerate(rows.keys.tolist())}
        if len(found) != len(rows):
            raise ActivationError(f"the {name} set has {len(rows) - len(found)} repeated keys; each row needs its own")
        places.append(found)
    common = sorted(places[0].keys() & places[1].keys())
    if not common:
        raise ActivationError("no sample occurs in both activation sets: collect both from the same data")
    first, second = (torch.tensor([place[key] for key in common]) for place in places)
    return source.take(first), target.take(second)
