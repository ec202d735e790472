"""Several processes in one: threads that share rows out as processes do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from torch import Tensor

from hf_stitch.runtime.sharding import Rows

T = TypeVar("T")


@dataclass
class Meeting:
    """Where threads leave what the others need."""

    count: int
    parts: dict[int, Tensor | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.barrier = threading.Barrier(self.count, timeout=60)


@dataclass(frozen=True)
class ThreadRows(Rows):
    meeting: Meeting | None = None

    def _exchange(self, part: Tensor | None) -> list[Tensor | None]:
        assert self.meeting is not None
        self.meeting.parts[self.index] = part
        self.meeting.barrier.wait()
        found = [self.meeting.parts[i] for i in range(self.count)]
        self.meeting.barrier.wait()
        return found

    def everyone(self, part: Tensor) -> list[Tensor]:
        return [one.clone() for one in self._exchange(part) if one is not None]

    def from_first(self, tensor: Tensor | None) -> Tensor:
        assert (tensor is not None) == self.first
        found = self._exchange(tensor)[0]
        assert found is not None
        return found.clone()


def together(count: int, work: Callable[[Rows], T]) -> list[T]:
    """What `work` returns in each of `count` processes; the error of the first one that failed, if one did."""
    meeting = Meeting(count)
    with ThreadPoolExecutor(count) as pool:
        running = [pool.submit(work, ThreadRows(i, count, meeting=meeting)) for i in range(count)]
    return [one.result() for one in running]
