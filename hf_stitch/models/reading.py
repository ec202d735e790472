"""One raw input of a stitched model as Python has it: arrays, files, bytes, pictures, texts, numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from hf_stitch.errors import DataError
from hf_stitch.loading.audio import read_audio
from hf_stitch.loading.images import read_picture
from hf_stitch.loading.processors import Preparer


def read_input(preparer: Preparer, given: Any, name: str | None = None) -> tuple[Any, list[str]]:
    """What `Preparer.batch` takes of one input, and what was done to it or is lost of it, in words.

    Args:
        given: for sound an array or list (t,) at the model's rate, {"raw" or "array", "sampling_rate"} at any rate,
            {"bytes"} or {"path"}, a path, or the bytes of a file; a text; for pictures a path, PIL picture, array or
            bytes; numbers.
        name: what to call it in errors.

    Raises:
        DataError: it is none of these, or cannot be used.
    """
    if isinstance(given, torch.Tensor):
        given = given.detach().cpu().numpy()
    if preparer.modality == "audio":
        return _sound(preparer, given, name)
    if preparer.modality == "image":
        notes: list[str] = []
        picture = read_picture(given, name or "picture", notes)
        return picture, [note for note in (*notes, preparer.cut(picture)) if note]
    if preparer.modality == "vector":
        return _vector(preparer, given, name), []
    if not isinstance(given, str) or not given.strip():
        got = f"expected a text that is not blank; got {type(given).__name__} {str(given)[:40]!r}"
        raise DataError(_told(name, got))
    cut = preparer.cut(given)
    return given, [] if cut is None else [cut]


def _sound(preparer: Preparer, given: Any, name: str | None) -> tuple[np.ndarray, list[str]]:
    if isinstance(given, list | tuple):
        given = np.asarray(given)
    if isinstance(given, np.ndarray):
        given = {"array": given, "sampling_rate": preparer.rate}
    elif isinstance(given, dict) and "raw" in given:
        given = {"array": np.asarray(given["raw"]), "sampling_rate": given.get("sampling_rate")}
    sound = read_audio(given, preparer.rate, name=name, minimum=preparer.minimum, device=preparer.device)
    return sound.samples, [note for note in (*sound.notes, preparer.cut(sound.samples)) if note]


def _vector(preparer: Preparer, given: Any, name: str | None) -> np.ndarray:
    try:
        vector = np.atleast_1d(np.asarray(given))
        finite = bool(np.isfinite(vector).all())
    except (TypeError, ValueError):
        raise DataError(_told(name, f"expected numbers; got {type(given).__name__} {str(given)[:40]!r}")) from None
    if preparer.width not in (None, vector.shape[-1]):
        what = f"expected vectors of {preparer.width} numbers, as many as the model takes"
        raise DataError(_told(name, f"{what}; got {vector.shape[-1]}"))
    if not finite:
        raise DataError(_told(name, "expected finite numbers"))
    return vector


def _told(name: str | None, what: str) -> str:
    return what if name is None else f"{name}: {what}"
