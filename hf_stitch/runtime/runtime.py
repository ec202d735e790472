"""Where the work runs: device, dtype, and the share of this process under accelerate."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs

from hf_stitch.errors import ActivationError, RecipeError, StitchError
from hf_stitch.runtime.device import pick_device, pick_dtype
from hf_stitch.runtime.processes import AcceleratedRows
from hf_stitch.runtime.progress import Progress, Silent
from hf_stitch.runtime.sharding import Rows

BARRIER_TIMEOUT = timedelta(hours=12)  # by hand: one process may factorise or solve for long while the others wait


@dataclass(frozen=True)
class Runtime:
    """One process of one or many; work is shared out by number, so the shares never depend on timing.

    Attributes:
        device: of this process: what was asked for, with several processes and GPUs one each.
    """

    accelerator: Accelerator
    device: torch.device
    dtype: torch.dtype | None
    progress: Progress

    @classmethod
    def start(cls, device: str | None = None, dtype: str | None = None, progress: Progress | None = None) -> Runtime:
        """Join the processes that `torchrun` or `accelerate launch` started, or run alone.

        Raises:
            RecipeError: a device or dtype that is not there, or one GPU by its number for several processes.
        """
        picked, wanted = pick_dtype(dtype), pick_device(device)
        alone = int(os.environ.get("WORLD_SIZE", "1")) == 1
        if wanted.index is not None and device is not None and not alone:
            raise RecipeError(
                f"device {device!r}: every process takes a {wanted.type} of its own; leave the number out"
            )
        # accelerate joins processes on the CPU only when it is told that there is nothing else.
        patience = InitProcessGroupKwargs(timeout=BARRIER_TIMEOUT)
        accelerator = Accelerator(cpu=wanted.type == "cpu", kwargs_handlers=[patience])
        own = wanted if device is not None and accelerator.num_processes == 1 else accelerator.device
        shown = progress if progress is not None and accelerator.is_main_process else Silent()
        return cls(accelerator, own, picked, shown)

    @property
    def is_main(self) -> bool:
        return self.accelerator.is_main_process

    @property
    def rows(self) -> Rows:
        """How the rows of a cloud are shared out; on the CPU where the device has no float64, as Apple's."""
        solving = torch.device("cpu") if self.device.type == "mps" else self.device
        if self.accelerator.num_processes == 1:
            return Rows(device=solving)
        return AcceleratedRows.of(self.accelerator, solving)

    def mine(self, work: Sequence[Any]) -> list[Any]:
        """This process's share of a list."""
        # In turns: buckets go from short to long, so every process gets some of each.
        return list(work[self.accelerator.process_index :: self.accelerator.num_processes])

    @contextmanager
    def together(self) -> Iterator[None]:
        """Work of which each process does its share; ends when all have, and what one refuses all refuse.

        Were the others to go on, one process would wait in a step that they never take.
        """
        refused: StitchError | None = None
        try:
            yield
        except StitchError as error:
            refused = error
        # As bytes in a tensor: that is all that NCCL can send.
        said = np.frombuffer(str(refused or "").encode(), dtype=np.uint8).copy()
        heard = self.rows.everyone(torch.from_numpy(said))
        if refused is not None:
            raise refused
        for other in heard:
            if len(other):
                raise ActivationError(bytes(other.tolist()).decode())

    def wait(self) -> None:
        """Until every process is here."""
        self.accelerator.wait_for_everyone()
