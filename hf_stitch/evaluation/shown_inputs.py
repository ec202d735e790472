"""Inputs made small enough for a report: texts cut, sounds short and at a low rate, pictures as thumbnails."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np

from hf_stitch.evaluation.pictures import grid_of
from hf_stitch.loading.audio import resample
from hf_stitch.loading.samples import Samples

# By hand: ten samples take less than a megabyte, whatever they are.
CHARACTERS = 300
NUMBERS = 12
SECONDS, RATE = 5.0, 8000  # as on the telephone: speech is understood
PIXELS = 160


def shown_input(samples: Samples, i: int, side: int, config: Any) -> dict[str, Any]:
    """The raw input of sample i for model 0 (source) or 1 (target), as plain data.

    `{"text", "characters"}`, `{"sound", "type", "seconds", "of"}`, `{"picture", "type"}` or `{"numbers", "of"}`; sounds
    and pictures are base64 of a file of that type. What was left out shows in `characters` and `of`, of the whole.

    Args:
        config: of that model; says of rows of numbers whether they are pictures.
    """
    value, preparer = (samples.source, samples.target)[side](i), samples.preparers[side]
    if preparer.modality == "audio":
        return _sound(value, preparer.rate)
    if preparer.modality == "image":
        return _picture(value)
    return shown_text(value) if preparer.modality == "text" else shown_numbers(value, config)


def shown_text(text: str) -> dict[str, Any]:
    """The beginning of a text, and how long it is."""
    return {"text": text[:CHARACTERS], "characters": len(text)}


def shown_numbers(values: Any, config: Any, scale: np.ndarray | None = None) -> dict[str, Any]:
    """A row of numbers: its beginning and its length, or the grey picture that it is by `config.image_shape`.

    Args:
        scale: numbers that go from black to white; the row's own where absent.
    """
    from PIL import Image

    row = np.asarray(values, dtype=np.float64).ravel()
    grid = grid_of(config, len(row))
    if grid is None:
        return {"numbers": row[:NUMBERS].tolist(), "of": len(row)}
    scale = row if scale is None else scale
    levels = 255 * (row - scale.min()) / max(float(np.ptp(scale)), 1e-12)
    return _picture(Image.fromarray(levels.round().clip(0, 255).astype(np.uint8).reshape(grid)))


def _sound(samples: np.ndarray, rate: int) -> dict[str, Any]:
    """The beginning as FLAC, which every browser plays and which is half as long as a WAV file."""
    import soundfile

    kept, low = samples[: int(SECONDS * rate)], min(rate, RATE)
    if low < rate:
        kept = resample(kept, rate, low)
    file = io.BytesIO()
    soundfile.write(file, np.clip(kept, -1, 1), low, format="FLAC", subtype="PCM_16")
    length = {"seconds": min(len(samples) / rate, SECONDS), "of": len(samples) / rate}
    return {"sound": _coded(file.getvalue()), "type": "audio/flac", **length}


def _picture(picture: Any) -> dict[str, Any]:
    """A thumbnail: PNG of drawings and small pictures, JPEG of photographs, whichever is shorter."""
    small = picture.copy()
    small.thumbnail((PIXELS, PIXELS))
    files = {"image/png": io.BytesIO(), "image/jpeg": io.BytesIO()}
    small.save(files["image/png"], "PNG", optimize=True)
    small.save(files["image/jpeg"], "JPEG", quality=80)
    kind = min(files, key=lambda name: len(files[name].getvalue()))
    return {"picture": _coded(files[kind].getvalue()), "type": kind}


def _coded(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
