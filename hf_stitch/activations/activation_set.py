"""What was seen at a hook point: rows of activations with keys, and the local metric round each row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from hf_stitch.errors import ActivationError
from hf_stitch.geometry.local_metrics.local_metric import LocalMetric
from hf_stitch.geometry.subsets import evenly_spaced

BLOCK = 1 << 22
"""Numbers of the rows that are in memory at once: 32 MB in float64. By hand: products of them run at full speed, and
fits of some thousand rows are of one block, whose sums are those of all rows at once, bit for bit."""

FEWEST = 1024  # rows of a block, however wide: products of fewer are slow, and sums of products are wider. By hand


class RowSet(ABC):
    """Activations of one model at one hook point by row, in memory or read block by block when they are asked for.

    Attributes:
        keys: (n, 2) int64: sample number and position; sets are paired by key, never by position.
        metric: local metric of each row on the selected features, or None.
        selected: which columns of the layer's features are the selected ones, where all are kept too; else None.
        whole_layer: all features of the layer are kept beside the selected ones.
    """

    keys: Tensor
    metric: LocalMetric | None
    selected: tuple[int, ...] | None
    whole_layer: bool

    @property
    @abstractmethod
    def width(self) -> int:
        """Selected features m."""

    @property
    @abstractmethod
    def output_width(self) -> int:
        """Features that a map to these rows predicts: all of the layer, or the selected ones where only those are."""

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """Of the activations."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def take(self, index: Tensor) -> ActivationSet:
        """Rows by number, in the order of `index`, in memory."""

    @abstractmethod
    def whole(self) -> ActivationSet:
        """All rows in memory."""

    @abstractmethod
    def subset(self, index: Tensor) -> RowSet:
        """Rows by number, in the order of `index`; what is not in memory stays where it is."""

    @abstractmethod
    def dealt(self, order: Tensor) -> RowSet:
        """The same rows under each other's keys: row `order[i]` stands in place i, whose key stays."""

    @abstractmethod
    def alone(self) -> RowSet:
        """The selected features without the others of the layer."""

    @abstractmethod
    def same_keys(self, other: RowSet) -> bool:
        """Whether both sets have the same keys in the same order."""

    def blocks(self, most: int) -> Iterator[Tensor]:
        """Numbers of all rows in blocks of at most `most`, in a fixed order in which they are quickly read."""
        yield from torch.arange(len(self)).split(most)

    def spread(self, most: int) -> ActivationSet:
        """All rows, or `most` of them, evenly spread, in memory: what is chosen by sight is chosen among them."""
        return self.whole() if len(self) <= most else self.take(evenly_spaced(len(self), most))


@dataclass(frozen=True)
class ActivationSet(RowSet):
    """Rows in memory.

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
    whole_layer: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "whole_layer", self.full is not None)
        if self.values.ndim != 2 or self.keys.shape != (len(self.values), 2):
            shapes = f"{tuple(self.values.shape)} and {tuple(self.keys.shape)}"
            raise ActivationError(f"an activation set takes values (n, m) and keys (n, 2); got {shapes}")

    def __len__(self) -> int:
        return len(self.values)

    @property
    def width(self) -> int:
        return self.values.shape[1]

    @property
    def outputs(self) -> Tensor:
        """What a map to these rows predicts: all features of the layer, or the selected ones where only those are."""
        return self.values if self.full is None else self.full

    @property
    def output_width(self) -> int:
        return self.outputs.shape[1]

    @property
    def dtype(self) -> torch.dtype:
        return self.values.dtype

    def take(self, index: Tensor) -> ActivationSet:
        chosen = index.to(self.values.device)
        return replace(
            self,
            values=self.values[chosen],
            keys=self.keys[index.to(self.keys.device)],
            metric=None if self.metric is None else self.metric.take(chosen),
            full=None if self.full is None else self.full[chosen],
        )

    def whole(self) -> ActivationSet:
        return self

    def subset(self, index: Tensor) -> ActivationSet:
        return self.take(index)

    def dealt(self, order: Tensor) -> ActivationSet:
        return replace(self.take(order), keys=self.keys)

    def alone(self) -> Self:
        return replace(self, full=None, selected=None)

    def same_keys(self, other: RowSet) -> bool:
        return torch.equal(self.keys, other.keys)


def paired(source: RowSet, target: RowSet) -> tuple[RowSet, RowSet]:
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
    return source.subset(first), target.subset(second)


def rows_at_once(source: RowSet, target: RowSet) -> int:
    """Rows of both sides that are in memory at once: see BLOCK."""
    return max(FEWEST, BLOCK // (source.width + target.output_width))


def paired_blocks(source: RowSet, target: RowSet) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows x (b, m) of the source and outputs y (b, m') of the target, block by block; both have the same keys."""
    for index in source.blocks(rows_at_once(source, target)):
        yield source.take(index).values, target.take(index).outputs


def output_blocks(target: RowSet) -> Iterator[Tensor]:
    """Outputs (b, m') of a set, block by block."""
    for index in target.blocks(rows_at_once(target, target)):
        yield target.take(index).outputs


def sum_of_outputs(target: RowSet) -> Tensor:
    """(m',) float64 sum of the outputs of all rows."""
    # NumPy adds row by row, as its means do.
    sums = [rows.detach().cpu().double().numpy().sum(axis=0) for rows in output_blocks(target)]
    return torch.from_numpy(np.sum(sums, axis=0))
