"""The circumstances of a run: versions, machine, processes, memory."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from hf_stitch.runtime.runtime import Runtime
from hf_stitch.runtime.torchaudio_extra import torchaudio, trouble

# Those whose version may change a number in the report, or whether a saved model loads.
PACKAGES = ("hf_stitch", "torch", "transformers", "datasets", "accelerate", "evaluate", "numpy", "scipy", "safetensors")
EXTRAS = ("datafold", "torchaudio")


def environment(runtime: Runtime) -> dict[str, Any]:
    """Versions of what computed, and on what."""
    return {
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES} | _extras(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(runtime.device) if runtime.device.type == "cuda" else runtime.device.type,
        "dtype": str(runtime.dtype or "the checkpoints' own").removeprefix("torch."),
        "audio": "torchaudio" if torchaudio().module else "torchaudio cannot load, scipy" if trouble() else "scipy",
        "processes": runtime.accelerator.num_processes,
    }


def _extras() -> dict[str, str]:
    """Versions of the optional packages that are installed."""
    found = {}
    for name in EXTRAS:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def peak_memory() -> int:
    """Largest resident size of this process so far, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux counts the parent's memory too in ru_maxrss
        return 1024 * int(status.read_text(encoding="utf-8").partition("VmHWM:")[2].split()[0])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
