"""Moves of modules that leave the dtypes of their tensors alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


def keep_dtype(module: Module, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Module:
    """`_apply` that follows moves between devices and ignores changes of dtype, which would destroy coefficients."""

    def keep(tensor: Tensor) -> Tensor:
        moved = fn(tensor)
        return moved if moved.dtype == tensor.dtype else tensor.to(moved.device)

    nn.Module._apply(module, keep, recurse)
    return module
