"""Parts on disk: each batch of activations is written as soon as it is there, so that an interrupted run resumes."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from hf_stitch.errors import ActivationError
from hf_stitch.runtime.files import replacing, report_full_disk


class PartStore:
    """A folder of safetensors files, one a part; a part is either whole or absent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"

    def has(self, name: str) -> bool:
        """True when the part is there and its header can be read, which is enough to tell a truncated file."""
        try:
            with safe_open(self.path(name), framework="pt"):
                return True
        except (OSError, SafetensorError):
            return False

    def write(self, name: str, tensors: dict[str, Tensor]) -> None:
        """Write a part in one step: a reader or a later run sees it whole or not at all.

        Raises:
            ActivationError: no space left; parts written before are kept.
        """
        full = ActivationError(
            f"no space left in {self.folder}: free some, or set HF_STITCH_CACHE to a roomier folder, and run again; "
            "what was collected is kept"
        )
        with report_full_disk(full), replacing(self.path(name)) as scratch:
            # safetensors refuses tensors that are not contiguous.
            save_file({key: value.contiguous() for key, value in tensors.items()}, scratch)

    def read(self, name: str) -> dict[str, Tensor]:
        return load_file(self.path(name))
