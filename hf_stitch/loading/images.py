"""Pictures as a model's image processor takes them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hf_stitch.errors import DataError


def read_picture(given: Any, name: str = "picture") -> Any:
    """An RGB picture (PIL) of a path, the bytes of a file, the Hub's {bytes, path}, an array (h, w[, 3]) or a picture.

    Raises:
        DataError: no picture that Pillow can read.
    """
    from PIL import Image, UnidentifiedImageError

    if isinstance(given, Mapping):
        given = given.get("bytes") or given.get("path")
    try:
        if isinstance(given, bytes):
            given = Image.open(io.BytesIO(given))
        elif isinstance(given, str | Path):
            given = Image.open(given)
        elif not isinstance(given, Image.Image):
            given = Image.fromarray(_bytes_of(given))
        # Image processors take three channels; files may be grey, or have a palette or transparency.
        return given.convert("RGB")
    except (OSError, UnidentifiedImageError, TypeError, ValueError, AttributeError):
        raise DataError(f"{name}: no picture that Pillow can read; expected a file such as PNG or JPEG") from None


def _bytes_of(values: Any) -> Any:
    import numpy as np

    array = np.asarray(values)
    if array.dtype.kind not in "ui" or array.min() < 0 or array.max() > 255:
        raise ValueError("expected whole numbers from 0 to 255")
    return array.astype(np.uint8)
