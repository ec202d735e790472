"""Pictures as a model's image processor takes them: RGB of 8 bits, upright, nothing to be seen through."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_stitch.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

BITS_A_SAMPLE, PHOTOMETRIC = 258, 262
"""Entries of a TIFF: the bits of one value, and whether 0 is white (0) or black (1)."""
SIXTEEN_BITS = ("PNG", "PPM")
"""Formats whose 16 bits of grey some versions of Pillow give as 32-bit numbers from 0 to 65535 (mode I)."""
EIGHT_BITS = "give 8 bits a colour, 255 for white"


def read_picture(given: Any, name: str = "picture", notes: list[str] | None = None) -> Image:
    """An RGB picture (PIL) of a path, the bytes of a file, the Hub's {bytes, path}, an array (h, w[, 3]) or a picture.

    It stands as its EXIF entry says. 16 bits of grey are scaled to 8, clear parts become white, and of several pictures
    (an animation) the first is taken, each of which is told.

    Args:
        name: what to call it in errors. notes: what was done to it is added to them.

    Raises:
        DataError: no picture that Pillow can read, or values of which nobody says what white is.
    """
    from PIL import Image, ImageOps

    if isinstance(given, Mapping):
        given = given.get("bytes") or given.get("path")
    told: list[str] = [] if notes is None else notes
    try:
        if isinstance(given, bytes):
            given = Image.open(io.BytesIO(given))
        elif isinstance(given, str | Path):
            given = Image.open(given)
        elif not isinstance(given, Image.Image):
            given = Image.fromarray(_array_of(given, name))
        _tell_frames(given, told)
        given.load()
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{name}: no such file; check the path") from None
    except Image.DecompressionBombError:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise DataError(
            f"{name}: a picture of more than {most} pixels, which may be an attack; make it smaller"
        ) from None
    except Exception:  # each format's reader has errors of its own
        raise DataError(f"{name}: no picture that Pillow can read; expected a file such as PNG or JPEG") from None
    eight = _in_eight_bits(given, name, told)
    return _opaque(_upright(eight, ImageOps), name, told)


def _tell_frames(picture: Image, notes: list[str]) -> None:
    count = getattr(picture, "n_frames", 1)
    # Those of a telephone (MPO) are views of one scene, the first the whole one.
    if count > 1 and picture.format != "MPO":
        notes.append(f"picture {picture.tell() + 1} of {count} taken")


def _in_eight_bits(picture: Image, name: str, notes: list[str]) -> Image:
    """The picture with 8 bits a value; `convert` clips what is above 255, so that 16 bits would be nearly all white."""
    from PIL import Image

    wide = picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format in SIXTEEN_BITS)
    if picture.mode == "F" or (picture.mode == "I" and not wide):
        what = "numbers in floating point" if picture.mode == "F" else "numbers of 32 bits"
        raise DataError(f"{name}: a picture of {what}, of which nobody says what is white; {EIGHT_BITS}")
    if not wide:
        return picture
    entries = getattr(picture, "tag_v2", {})
    bits = int(entries.get(BITS_A_SAMPLE, (16,))[0])
    values = np.asarray(picture).astype(np.float64) * (255 / (2**bits - 1))
    if entries.get(PHOTOMETRIC) == 0:
        values = 255 - values
    notes.append(f"{bits} bits of grey scaled to 8")
    scaled = Image.fromarray(np.rint(values).clip(0, 255).astype(np.uint8))
    scaled.info.update(picture.info)
    if exif := _exif_of(picture):
        scaled.info["exif"] = exif.tobytes()
    return scaled


def _exif_of(picture: Image) -> Any:
    try:
        return picture.getexif()
    except Exception:  # a damaged part says nothing of how the picture stands
        return None


def _upright(picture: Image, ops: Any) -> Image:
    if not _exif_of(picture):
        return picture
    upright: Image = ops.exif_transpose(picture)
    return upright


def _opaque(picture: Image, name: str, notes: list[str]) -> Image:
    """RGB, on white: what lies beneath clear parts is often black, and then all of a drawing would be."""
    from PIL import Image

    try:
        if picture.has_transparency_data:
            seen = picture.convert("RGBA")
            if np.asarray(seen)[..., 3].min() < 255:
                notes.append("has clear parts, which are taken as white")
                return Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen).convert("RGB")
        # Image processors take three channels; files may be grey or have a palette.
        return picture.convert("RGB")
    except ValueError:
        raise DataError(f"{name}: a picture in {picture.mode}, which Pillow cannot show; save it as RGB") from None


def _array_of(values: Any, name: str) -> np.ndarray:
    """(h, w) or (h, w, channels) as Pillow takes it: uint8, or uint16 of grey."""
    array = np.asarray(values)
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.size == 0 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[-1] not in (3, 4)):
        raise DataError(f"{name}: an array of shape {array.shape}; give a picture as (h, w) or (h, w, 3)")
    if array.dtype.kind not in "ui":
        raise DataError(f"{name}: an array of {array.dtype}, of which nobody says what is white; {EIGHT_BITS}")
    if array.dtype == np.uint16:
        if array.max() <= 255:
            raise DataError(f"{name}: an array of uint16, whose white is 65535, with nothing above 255; {EIGHT_BITS}")
        return array if array.ndim == 2 else np.rint(array / 257).astype(np.uint8)
    if array.min() < 0 or array.max() > 255:
        raise DataError(f"{name}: an array of numbers from {array.min()} to {array.max()}; {EIGHT_BITS}")
    return array.astype(np.uint8)
