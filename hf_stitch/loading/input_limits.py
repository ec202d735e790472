"""How much of an input a processor reads, found from the processor itself."""

from __future__ import annotations

import inspect
from typing import Any

WHOLE_SOUNDS = ("n_samples", "nb_max_samples", "num_max_samples")
"""Attributes of feature extractors with the most audio samples that they read: Whisper's, CLAP's and UnivNet's."""
FRAME_MS, SHIFT_MS = 25, 10
"""Of the filter banks that AST's extractor counts its frames by: Kaldi's, which it does not let one choose."""


def sound_limit(tool: Any) -> int | None:
    """Audio samples from the next of which on a feature extractor leaves the rest out; None of one that reads all."""
    if tool is None:
        return None
    taken = inspect.signature(type(tool).__call__).parameters
    cuts = taken["truncation"].default if "truncation" in taken else False
    if cuts is not False:  # None: as the extractor itself says, which is to cut
        known = (getattr(tool, name, None) for name in WHOLE_SOUNDS)
        found = next((int(value) for value in known if value), None)
        default = taken["max_length"].default if "max_length" in taken else None
        return found or (default if isinstance(default, int) else None)
    frames = getattr(tool, "max_length", None)
    if frames and "max_length" not in taken and hasattr(tool, "num_mel_bins"):
        # One more sample than this makes one more frame.
        return (FRAME_MS + SHIFT_MS * frames) * int(tool.sampling_rate) // 1000 - 1
    return None


def cropped(tool: Any, width: int, height: int) -> str | None:
    """What is read of a picture that is scaled by its shorter side and cropped to its middle, in words.

    None where a square picture loses as much: its edges are left out by the model's own design.
    """
    size, crop = getattr(tool, "size", None) or {}, getattr(tool, "crop_size", None) or {}
    shortest = size.get("shortest_edge")
    if not getattr(tool, "do_center_crop", False) or not shortest or not crop.get("width") or width == height:
        return None
    longer, side, kept = (width, "width", crop["width"]) if width > height else (height, "height", crop["height"])
    share = round(100 * kept / (shortest * longer / min(width, height)))
    return f"the middle {share} % of its {side}" if share < 100 else None
