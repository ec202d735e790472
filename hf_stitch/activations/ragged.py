"""Sequences of unequal length, packed end to end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Ragged:
    """n sequences: values (sum of lengths, ...) and lengths (n,) int64."""

    values: Tensor
    lengths: Tensor
    starts: Tensor = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "starts", self.lengths.cumsum(0) - self.lengths)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, i: int) -> Tensor:
        start = int(self.starts[i])
        return self.values[start : start + int(self.lengths[i])]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def batch(self, index: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Padded on the right with zeros: (b, t, ...) and mask (b, t)."""
        rows = [self[i] for i in index]
        padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        lengths = torch.tensor([len(row) for row in rows])
        return padded, torch.arange(padded.shape[1])[None] < lengths[:, None]

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
        # Even lengths are moved in one step, without a loop over samples, of which flat data have up to 100,000.
        if len(whole) and bool((whole.lengths == whole.lengths[0]).all()):
            even = whole.values.unflatten(0, (len(whole), int(whole.lengths[0])))
            return cls(even[place].flatten(0, 1), whole.lengths)
        return cls.pack([whole[i] for i in place.tolist()])
