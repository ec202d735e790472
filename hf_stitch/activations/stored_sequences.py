"""Sequences that stay in the parts on disk and are read when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from hf_stitch.activations.ragged import Ragged, Sequences, steps_of
from hf_stitch.runtime.part_store import PartStore


@dataclass(frozen=True)
class StoredSequences(Sequences):
    """n sequences (t, ...) in parts on disk; in memory are their lengths and where each of them lies.

    Attributes:
        store, names: the parts. entry: of the tensor in each of them that holds its sequences end to end.
        parts: the numbers of each part's sequences, in their order there.
        lengths: (n,) int64, by number. shape: sizes of one timestep.
        dtype: of what is read; parts may hold fewer digits.
    """

    store: PartStore
    names: Sequence[str]
    entry: str
    parts: Sequence[Sequence[int]]
    lengths: Tensor
    shape: tuple[int, ...]
    dtype: torch.dtype
    part_of: Tensor = field(init=False)
    starts: Tensor = field(init=False)

    def __post_init__(self) -> None:
        order = torch.tensor([i for part in self.parts for i in part], dtype=torch.long)
        sizes = torch.tensor([len(part) for part in self.parts])
        owners = torch.arange(len(sizes)).repeat_interleave(sizes)
        ends = self.lengths[order].cumsum(0)
        before = ends - self.lengths[order]
        first = before[sizes.cumsum(0) - sizes] if len(order) else before
        object.__setattr__(self, "part_of", torch.empty_like(order).scatter_(0, order, owners))
        object.__setattr__(self, "starts", torch.empty_like(order).scatter_(0, order, before - first[owners]))

    def take(self, index: Sequence[int] | Tensor) -> Ragged:
        """Sequences by number, in that order, in memory.

        Raises:
            ActivationError: a part is no longer there.
        """
        chosen = torch.as_tensor(index, dtype=torch.long)
        lengths = self.lengths[chosen]
        places = lengths.cumsum(0) - lengths
        found = torch.empty(int(lengths.sum()), *self.shape, dtype=self.dtype)
        for part, own in grouped(self.part_of[chosen]):
            rows = steps_of(self.starts[chosen[own]], lengths[own])
            read = self.store.rows(self.names[part], self.entry, rows)
            found[steps_of(places[own], lengths[own])] = read.to(self.dtype)
        return Ragged(found, lengths)


def grouped(owners: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Each owner that occurs in (n,) with its places there, ascending."""
    order = owners.argsort(stable=True)
    names, counts = owners[order].unique_consecutive(return_counts=True)
    yield from zip(names.tolist(), order.split(counts.tolist()))
