"""On which device and in which dtype models run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hf_stitch.errors import RecipeError, nearest

if TYPE_CHECKING:
    import torch


def pick_device(device: str | torch.device | None = None) -> torch.device:
    """The device called so, or the accelerator when there is one, else the CPU. RecipeError when it is not there."""
    import torch

    if device is None:
        found = torch.accelerator.current_accelerator(check_available=True)
        return found or torch.device("cpu")
    try:
        chosen = torch.device(device)
        # torch.device takes any name; only a tensor tells whether the device is there.
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError):
        advice = "leave it out, or give cpu, cuda or cuda:0"
        raise RecipeError(f"device {str(device)!r} is not available here; {advice}") from None
    return chosen


def pick_dtype(dtype: Any) -> torch.dtype | None:
    """A torch dtype by name; None stays None."""
    import torch

    known = ("float32", "float64", "float16", "bfloat16")
    if dtype is None or isinstance(dtype, torch.dtype):
        return dtype
    if dtype not in known:
        raise RecipeError(f"dtype {dtype!r} is unknown; {nearest(str(dtype), known)}")
    found: torch.dtype = getattr(torch, dtype)
    return found
