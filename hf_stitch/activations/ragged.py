"""Sequences of unequal length: what all of them can, wherever they lie, and those in memory, packed end to end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor


class Sequences(ABC):
    """n sequences (t, ...) of activations or tokens.

    Attributes:
        lengths: (n,) int64.
        parts: numbers of the sequences that lie together: read in this order, each part is opened once.
        part_of: (n,) int64 the part in which each sequence lies.
        shape: sizes of one timestep, (m,) of activations and () of tokens. dtype: of what is read.
    """

    lengths: Tensor
    parts: Sequence[Sequence[int]]
    part_of: Tensor
    shape: tuple[int, ...]
    dtype: torch.dtype

    @abstractmethod
    def take(self, index: Sequence[int] | Tensor) -> Ragged:
        """Sequences by number, in that order, in memory."""

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, i: int) -> Tensor:
        return self.take([i]).values

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def each(self) -> Iterator[tuple[int, Tensor]]:
        """All sequences with their numbers, part by part: no more than a part is in memory."""
        for part in self.parts:
            yield from zip(part, self.take(part))

    def whole(self) -> Ragged:
        """All of them in memory."""
        return self.take(torch.arange(len(self)))

    def batch(self, index: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Padded on the right with zeros: (b, t, ...) and mask (b, t)."""
        found = self.take(index)
        padded = torch.nn.utils.rnn.pad_sequence(list(found), batch_first=True)
        return padded, torch.arange(padded.shape[1])[None] < found.lengths[:, None]


@dataclass(frozen=True)
class Ragged(Sequences):
    """n sequences: values (sum of lengths, ...) and lengths (n,) int64."""

    values: Tensor
    lengths: Tensor
    starts: Tensor = field(init=False)
    parts: Sequence[Sequence[int]] = field(init=False)
    part_of: Tensor = field(init=False)
    shape: tuple[int, ...] = field(init=False)
    dtype: torch.dtype = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "starts", self.lengths.cumsum(0) - self.lengths)
        object.__setattr__(self, "parts", (range(len(self.lengths)),))
        object.__setattr__(self, "part_of", torch.zeros_like(self.lengths))
        object.__setattr__(self, "shape", tuple(self.values.shape[1:]))
        object.__setattr__(self, "dtype", self.values.dtype)

    def __getitem__(self, i: int) -> Tensor:
        start = int(self.starts[i])
        return self.values[start : start + int(self.lengths[i])]

    def whole(self) -> Ragged:
        return self

    def take(self, index: Sequence[int] | Tensor) -> Ragged:
        chosen = torch.as_tensor(index, dtype=torch.long)
        lengths = self.lengths[chosen]
        return Ragged(self.values[steps_of(self.starts[chosen], lengths).to(self.values.device)], lengths)

    @classmethod
    def pack(cls, rows: Sequence[Tensor]) -> Ragged:
        return cls(torch.cat(list(rows)), torch.tensor([len(row) for row in rows]))

    @classmethod
    def unpad(cls, padded: Tensor, mask: Tensor) -> Ragged:
        """From a padded batch (b, t, ...) and its mask (b, t), whichever side the padding is on."""
        return cls(padded[mask.to(padded.device)], mask.sum(1).cpu())

    @classmethod
    def join(cls, parts: Sequence[Ragged], order: Tensor) -> Ragged:
        """Concatenate parts whose i-th sequence is sample `order[i]`, and put them in sample order."""
        whole = cls(torch.cat([part.values for part in parts]), torch.cat([part.lengths for part in parts]))
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order))
        return whole.take(place)


def steps_of(starts: Tensor, lengths: Tensor) -> Tensor:
    """(sum of lengths,) the numbers start, start + 1, ... of each sequence, one sequence after the other."""
    ends = lengths.cumsum(0)
    return torch.arange(int(lengths.sum())) + (starts - (ends - lengths)).repeat_interleave(lengths)
