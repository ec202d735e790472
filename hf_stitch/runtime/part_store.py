"""Parts on disk: each batch of activations is written as soon as it is there, so that an interrupted run resumes."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hf_stitch.errors import ActivationError
from hf_stitch.runtime.files import replacing, report_full_disk
from hf_stitch.runtime.tensor_digest import digest_of_tensors

DIGEST = "digest"  # entry of a part's metadata


class PartStore:
    """A folder of safetensors files, one a part, each with a digest of what it holds; a part is whole or absent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"

    def has(self, name: str) -> bool:
        """True when the part is there and holds what was written: a damaged one is to be made again."""
        return self._sound(name) is not None

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
            plain = {key: value.contiguous() for key, value in tensors.items()}
            save_file(plain, scratch, {DIGEST: digest_of_tensors(plain)})

    def read(self, name: str) -> dict[str, Tensor]:
        """The part as it was written.

        Raises:
            ActivationError: it was damaged since then. FileNotFoundError: there is none.
        """
        found = self._sound(name)
        if found is None:
            self.path(name).stat()  # a part that is not there is no damaged one
            raise ActivationError(
                f"{self.path(name)} is not what was written there: it was damaged meanwhile; run again, which makes "
                "it anew"
            )
        return found

    def rows(self, name: str, entry: str, index: Tensor) -> Tensor:
        """Rows `index` of one tensor of a part, copied: the file stays neither open nor mapped into memory.

        Nothing is checked: `read` has checked the part when it was collected.

        Raises:
            ActivationError: the part is no longer there, or has other rows.
        """
        try:
            with safe_open(self.path(name), framework="pt") as file:
                return file.get_tensor(entry)[index]  # of a map: no more than these rows is read
        except (OSError, SafetensorError, IndexError, KeyError, ValueError) as error:
            raise ActivationError(
                f"{self.path(name)} was removed or overwritten while in use ({error}): run again, which makes it anew"
            ) from None

    def _sound(self, name: str) -> dict[str, Tensor] | None:
        """What a part holds; None where it is absent or is not what was written."""
        try:
            with safe_open(self.path(name), framework="pt") as file:
                told = (file.metadata() or {}).get(DIGEST)
                found = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - it is no mapping
        # A flipped bit in the header may name a dtype or an entry that there is none of.
        except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError):
            return None
        return found if told == digest_of_tensors(found) else None
