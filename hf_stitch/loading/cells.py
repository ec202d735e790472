"""Values as a table holds them: what recipes' columns take becomes plain data, pictures and sound without loss."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from hf_stitch.errors import DataError

_PNG = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")  # modes that PNG keeps without loss; TIFF keeps all others
_WIDTHS = {"int8": 2.0**7, "int16": 2.0**15, "int32": 2.0**31}


class Picture(dict):
    """A picture's bytes, as datasets' `Image` keeps them."""


def cell_of(value: Any) -> Any:
    """What a table holds of a value: text, numbers, arrays and tensors, pictures, sound as an array with its rate,
    bytes, and lists and dicts of these.

    Raises:
        DataError: it holds none of it.
    """
    if value is None or isinstance(value, str | bytes | bool | int | float):
        return value.item() if isinstance(value, np.generic) else value
    if isinstance(value, Mapping):
        return _sound(value) or {str(key): cell_of(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [cell_of(one) for one in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if type(value).__module__.startswith("PIL."):
        return _picture(value)
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = (value.float() if "bfloat16" in str(value.dtype) else value).numpy()
    if hasattr(value, "__array__") and not isinstance(value, np.ndarray | np.generic):
        value = np.asarray(value)
    if isinstance(value, np.ndarray | np.generic):
        return _numbers(np.asarray(value))
    if type(value).__module__ in ("datetime", "decimal") or hasattr(value, "isoformat"):
        return value
    kind = type(value).__name__
    raise DataError(f"a {kind}, which no table holds; give text, numbers, arrays, pictures, bytes, or lists of these")


def _numbers(array: np.ndarray) -> Any:
    if array.ndim == 0:
        return cell_of(array.item())
    if array.dtype == object:
        return [cell_of(one) for one in array.tolist()]
    if array.dtype.kind not in "biufSUM":
        raise DataError(f"an array of {array.dtype}, which no table holds; give real numbers")
    if array.dtype.kind in "SUM":
        return array.tolist()
    if array.dtype in (np.uint8, np.uint16) and array.ndim in (2, 3):
        return _array_picture(array)
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _array_picture(array: np.ndarray) -> Any:
    """A picture in 8 or 16 bits, else the numbers as they are."""
    from PIL import Image

    grey = array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array
    if grey.size and (grey.ndim == 2 or (grey.shape[-1] in (3, 4) and grey.dtype == np.uint8)):
        return _picture(Image.fromarray(np.ascontiguousarray(grey)))
    return array


def _picture(picture: Any) -> Picture:
    content = io.BytesIO()
    try:
        kept = _PNG if picture.mode != "I" or picture.format not in ("PNG", "PPM") else ("I",)
        exif = picture.getexif()
        more = {"exif": exif.tobytes()} if exif else {}
        picture.save(content, format="PNG" if picture.mode in kept else "TIFF", **more)
    except Exception as error:  # each format has errors of its own
        raise DataError(f"a picture that Pillow cannot read or keep ({first_line(error)})") from None
    return Picture(bytes=content.getvalue(), path=None)


def _sound(value: Mapping[Any, Any]) -> dict[str, Any] | None:
    """Sound as an array with its rate, whole numbers scaled by their type's range as `read_audio` does; else None."""
    array = value.get("array")
    if "sampling_rate" not in value or array is None:
        return None
    samples = np.asarray(array.detach().cpu() if hasattr(array, "detach") else array)
    name = samples.dtype.name
    if name in _WIDTHS and not isinstance(array, list | tuple):
        samples = samples / _WIDTHS[name]
    elif name == "uint8":
        samples = samples / 128 - 1
    rest = {str(key): cell_of(one) for key, one in value.items() if key != "array"}
    return {"array": samples.astype(np.float32) if samples.dtype == np.float16 else samples, **rest}


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
