"""How the rows of a cloud are shared out: which ones a process works on, where, and how its part joins the others'.

The default has one process with all rows. Several are connected by a subclass that gives `everyone` and `from_first`
(`hf_stitch.runtime.processes` does so by accelerate); the mathematics knows no more of them than this. Every process
must make the same calls in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse
import torch
from torch import Tensor

# By hand, as BLOCK below.
SHARE = 8  # an eighth of a device's free memory for a block: what is made of a block needs several of its size
LEAST = 1 << 16  # entries of a block, however little is free


@dataclass(frozen=True)
class Rows:
    """One process of `count`, and the device on which it works on its rows.

    Attributes:
        index: number of this process.
        device: of blocks of rows; None for the device on which the cloud lies.
    """

    index: int = 0
    count: int = 1
    device: torch.device | None = None

    def everyone(self, part: Tensor) -> list[Tensor]:
        """Every process's part (b, ...), in order; b may differ, the other sizes and the dtype may not."""
        return [part]

    def from_first(self, tensor: Tensor | None) -> Tensor:
        """The first process's tensor, in all processes; the others give None."""
        assert tensor is not None
        return tensor

    def place(self, points: Tensor) -> torch.device:
        """Where blocks of rows of these points are worked on."""
        return points.device if self.device is None else self.device

    @property
    def first(self) -> bool:
        return self.index == 0

    def span(self, n: int, index: int | None = None) -> tuple[int, int]:
        """The rows [begin, end) of n that are this process's, or another's; in order, nearly equally many."""
        at = self.index if index is None else index
        # In whole numbers, so that the spans of all processes cover n exactly.
        return n * at // self.count, n * (at + 1) // self.count

    def join(self, part: np.ndarray) -> np.ndarray:
        """All processes' parts (b, ...) one after the other."""
        if self.count == 1:
            return part
        return torch.cat(self.everyone(torch.from_numpy(np.ascontiguousarray(part)))).numpy()

    def join_graph(self, part: sparse.csr_matrix) -> sparse.csr_matrix:
        """All processes' rows of a sparse matrix."""
        if self.count == 1:
            return part
        counts = self.join(np.diff(part.indptr).astype(np.int64))
        pointers = np.concatenate([[0], counts.cumsum()]).astype(part.indptr.dtype)
        whole = self.join(part.data), self.join(part.indices), pointers
        return sparse.csr_matrix(whole, shape=(len(counts), part.shape[1]))

    def transposed(self, part: Tensor) -> Tensor:
        """This process's rows (b, n) of the transpose of a matrix (n, n) from its rows of the matrix.

        Columns travel in pieces of BLOCK entries, so memory is the result and one piece.
        """
        n = part.shape[1]
        if self.count == 1:
            return part.T
        found = torch.empty_like(part)
        for other in range(self.count):
            begin, end = self.span(n, other)
            for columns in torch.arange(begin, end).split(max(1, BLOCK // n)):
                here = slice(int(columns[0]), int(columns[-1]) + 1)
                piece = torch.cat(self.everyone(part[:, here].contiguous()))
                if other == self.index:
                    found[here.start - begin : here.stop - begin] = piece.T
        return found

    def by_first(self, make: Callable[[], Sequence[np.ndarray]]) -> list[np.ndarray]:
        """What the first process makes, in all processes; an error there is raised in all of them.

        What only one process computes can be no different in another, whatever their machines.
        """
        if self.count == 1:
            return list(make())
        error: BaseException | None = None
        made: list[Tensor] = []
        if self.first:
            try:
                made = [torch.from_numpy(np.ascontiguousarray(one)) for one in make()]
            except Exception as raised:
                error = raised
        failed = str(error).encode() if error is not None else b""
        head = self.from_first(torch.tensor([len(made), error is not None, *failed]) if self.first else None)
        if error is not None:
            raise error
        if head[1]:
            raise RuntimeError(f"the first process could not do it: {bytes(head[2:].tolist()).decode()}")
        return [self.from_first(made[i] if self.first else None).numpy() for i in range(int(head[0]))]

    def driven(
        self, product: Callable[[np.ndarray], np.ndarray], solve: Callable[[Callable], Sequence[np.ndarray]]
    ) -> list[np.ndarray]:
        """What `solve` finds on the first process with a `product` in which all take part; the others serve it.

        `product` takes the same array in all processes. An iteration that every process ran for itself could stop
        after different numbers of steps on different machines, and wait for ever.
        """
        if self.count == 1:
            return list(solve(product))

        def asked(x: np.ndarray) -> np.ndarray:
            return product(self.from_first(torch.from_numpy(np.ascontiguousarray(x))).numpy())

        def whole() -> Sequence[np.ndarray]:
            try:
                return solve(asked)
            # An empty array tells the others that there is nothing more to serve, after an error too.
            finally:
                self.from_first(torch.empty(0, dtype=torch.float64))

        if not self.first:
            while len(x := self.from_first(None).numpy()):
                product(x)
        return self.by_first(whole)


ALONE = Rows()


def free_bytes(device: torch.device) -> int | None:
    """What is free of an accelerator's memory; None for the CPU, whose blocks are of fixed size."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


def entries_on(device: torch.device, itemsize: int = 8) -> int:
    """Entries of one block of numbers on a device."""
    free = free_bytes(device)
    return BLOCK if free is None else entries_in(free, itemsize)


def entries_in(free: int, itemsize: int = 8) -> int:
    """Entries of a block where `free` bytes are left."""
    return max(LEAST, free // (SHARE * itemsize))


BLOCK = 1 << 22  # entries of one block of pairwise numbers (32 MB in float64)
