"""Rows of one side of a pairing that are made from the frames of their samples when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from hf_stitch.activations.activation_set import ActivationSet, RowSet
from hf_stitch.activations.frames import Frames
from hf_stitch.activations.hooked_model import HookedModel
from hf_stitch.activations.ragged import Sequences, steps_of
from hf_stitch.activations.stored_sequences import grouped
from hf_stitch.geometry.local_metrics.local_metric import LocalMetric
from hf_stitch.stitching.pairing import Pairing, columns_of, rows_of


@dataclass(frozen=True)
class PairedRows(RowSet):
    """The rows of a pairing on the source's side (0) or the target's (1).

    Attributes:
        frames: of that side. columns: the selected features of a row, None for all.
        metric: of each row of this set. whole_layer: where features are selected, the others are kept beside them.
        order, named: which row of the pairing stands in each place, and whose key it has; None: all in their order.
    """

    frames: Sequences
    pairing: Pairing
    side: int
    columns: tuple[int, ...] | None
    metric: LocalMetric | None = None
    whole_layer: bool = False
    order: Tensor | None = None
    named: Tensor | None = None
    selected: tuple[int, ...] | None = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "selected", self.columns if self.whole_layer else None)

    @property
    def width(self) -> int:
        return self._layer_width if self.columns is None else len(self.columns)

    @property
    def output_width(self) -> int:
        return self._layer_width if self.whole_layer else self.width

    @property
    def dtype(self) -> torch.dtype:
        return self.frames.dtype

    @property
    def keys(self) -> Tensor:  # type: ignore[override]  # found when it is asked for
        return self.pairing.keys_of(self._numbers(self.named))

    def __len__(self) -> int:
        return len(self.pairing) if self.order is None else len(self.order)

    def take(self, index: Tensor) -> ActivationSet:
        return self._made(index, None if self.metric is None else self.metric.take(index))

    def whole(self) -> ActivationSet:
        return self._made(torch.arange(len(self)), self.metric)

    def subset(self, index: Tensor) -> PairedRows:
        metric = None if self.metric is None else self.metric.take(index)
        order, named = (index if own is None else own[index] for own in (self.order, self.named))
        return replace(self, order=order, named=named, metric=metric)

    def dealt(self, order: Tensor) -> PairedRows:
        return replace(self.subset(order), named=self._numbers(self.named))

    def alone(self) -> PairedRows:
        return replace(self, whole_layer=False)

    def same_keys(self, other: RowSet) -> bool:
        if isinstance(other, PairedRows) and other.pairing is self.pairing:
            if self.named is None and other.named is None:  # not a list of all numbers for nothing
                return True
            return torch.equal(self._numbers(self.named), other._numbers(other.named))
        return torch.equal(self.keys, other.keys)

    def blocks(self, most: int) -> Iterator[Tensor]:
        """Whole parts of the frames together, as far as they go; the rows of a block are in ascending order."""
        if self.order is not None:
            yield from super().blocks(most)
            return
        waiting: list[Tensor] = []
        for part in self.frames.parts:
            samples = torch.as_tensor(part, dtype=torch.long)
            for piece in steps_of(self.pairing.starts[samples], self.pairing.counts[samples]).split(most):
                if waiting and sum(map(len, waiting)) + len(piece) > most:
                    yield torch.cat(waiting).sort().values
                    waiting = []
                waiting.append(piece)
        if waiting:
            yield torch.cat(waiting).sort().values

    @property
    def _layer_width(self) -> int:
        """Features of a row of all windows that it joins."""
        return self.pairing.windows(0, self.side).shape[1] * self.frames.shape[0]

    def _numbers(self, numbers: Tensor | None) -> Tensor:
        return torch.arange(len(self)) if numbers is None else numbers

    def _made(self, index: Tensor, metric: LocalMetric | None) -> ActivationSet:
        place, name = (index if own is None else own[index] for own in (self.order, self.named))
        rows = self._read(place)
        values = rows if self.columns is None else rows[:, list(self.columns)]
        full = rows if self.whole_layer and self.columns is not None else None
        return ActivationSet(values, self.pairing.keys_of(name), metric, full, None if full is None else self.columns)

    def _read(self, numbers: Tensor) -> Tensor:
        """(k, M) rows of the pairing by number, all features; parts are opened once each."""
        found = torch.empty(len(numbers), self._layer_width, dtype=self.dtype)
        samples, places = self.pairing.places(numbers)
        for _, own in grouped(self.frames.part_of[samples]):
            here, which = samples[own].unique(return_inverse=True)
            windows = [self.pairing.windows(i, self.side) for i in here.tolist()]
            counts = self.pairing.counts[here]
            starts = counts.cumsum(0) - counts
            found[own] = rows_of(self.frames.take(here), windows)[starts[which] + places[own]]
        return found


def activation_sets(
    source: HookedModel,
    target: HookedModel,
    frames: Frames,
    pairing: Pairing,
    metrics: tuple[LocalMetric | None, LocalMetric | None],
) -> tuple[PairedRows, PairedRows]:
    """Both sides of the pairing as sets of rows."""
    first, second = (columns_of(end, pairing.windows(0, side).shape[1]) for side, end in enumerate((source, target)))
    # A map reads the source's selected features only; the rest would double the memory.
    return (
        PairedRows(frames.source, pairing, 0, first, metrics[0]),
        PairedRows(frames.target, pairing, 1, second, metrics[1], whole_layer=second is not None),
    )
