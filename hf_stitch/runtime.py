"""Where the work runs: device, dtype, and the share of this process under accelerate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator

from hf_stitch.loading import pick_device, pick_dtype
from hf_stitch.progress import Progress, Silent


@dataclass(frozen=True)
class Runtime:
    """One process of one or many; work is shared out by number, so the shares never depend on timing."""

    accelerator: Accelerator
    dtype: torch.dtype | None
    progress: Progress

    @classmethod
    def start(cls, device: str | None = None, dtype: str | None = None, progress: Progress | None = None) -> Runtime:
        """Join the processes that `torchrun` or `accelerate launch` started, or run alone.

        Raises:
            RecipeError: a device or dtype that is not there.
        """
        wanted = None if device is None else pick_device(device)
        picked = pick_dtype(dtype)
        accelerator = Accelerator(cpu=wanted is not None and wanted.type == "cpu")
        shown = progress if progress is not None and accelerator.is_main_process else Silent()
        return cls(accelerator, picked, shown)

    @property
    def device(self) -> torch.device:
        return self.accelerator.device

    @property
    def is_main(self) -> bool:
        return self.accelerator.is_main_process

    def mine(self, work: Sequence[Any]) -> list[Any]:
        """This process's share of a list."""
        return list(work[self.accelerator.process_index :: self.accelerator.num_processes])

    def wait(self) -> None:
        """Until every process is here."""
        self.accelerator.wait_for_everyone()
