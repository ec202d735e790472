"""Rows shared out over the processes that accelerate joined."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor

from hf_stitch.runtime.sharding import Rows

DTYPES = (torch.float64, torch.int64, torch.int32, torch.uint8, torch.bool, torch.float32)  # by their place when sent


@dataclass(frozen=True)
class AcceleratedRows(Rows):
    """This process's share; `wire` is where tensors must lie to be sent: the GPU with NCCL, the CPU with gloo."""

    accelerator: Accelerator | None = None
    wire: torch.device | None = None

    @classmethod
    def of(cls, accelerator: Accelerator, device: torch.device) -> AcceleratedRows:
        """The share of the process that this accelerator belongs to; blocks of rows are worked on on `device`."""
        return cls(accelerator.process_index, accelerator.num_processes, device, accelerator, accelerator.device)

    def everyone(self, part: Tensor) -> list[Tensor]:
        assert self.accelerator is not None
        own = torch.tensor([len(part)], device=self.wire)
        sizes = self.accelerator.gather(own).tolist()
        # Nothing to gather, and nothing that `split` below could take apart.
        if not max(sizes):
            return [part for _ in sizes]
        sent = part.to(self.wire).contiguous()
        if len(part) < max(sizes):  # only parts of one size can be gathered
            sent = torch.cat([sent, sent.new_zeros(max(sizes) - len(part), *part.shape[1:])])
        whole = self.accelerator.gather(sent)
        return [one[:size].to(part.device) for one, size in zip(whole.split(max(sizes)), sizes)]

    def from_first(self, tensor: Tensor | None) -> Tensor:
        # Dtype, number of axes and up to six sizes: the receivers must know how much will come.
        head = torch.zeros(8, dtype=torch.int64)
        if tensor is not None:
            head[: 2 + tensor.ndim] = torch.tensor([DTYPES.index(tensor.dtype), tensor.ndim, *tensor.shape])
        dtype, ndim, *shape = broadcast(head.to(self.wire)).tolist()
        if tensor is None:
            tensor = torch.empty(shape[:ndim], dtype=DTYPES[dtype])
        return broadcast(tensor.contiguous().to(self.wire)).cpu() if tensor.numel() else tensor
