"""Deprecated, and gone in the next release: `hf_stitch.metric_path` is the name that stays."""

from __future__ import annotations

import warnings
from typing import Any


def __getattr__(name: str) -> Any:
    """`metric_path` and `names` from their room, with a DeprecationWarning that points at the line that asks."""
    if name not in ("metric_path", "names"):
        raise AttributeError(f"module 'hf_stitch.metrics' has no attribute {name!r}")
    from hf_stitch.evaluation.metrics import catalogue

    message = f"hf_stitch.metrics.{name} goes in the next release: use hf_stitch.metric_path, which names them all"
    warnings.warn(message, DeprecationWarning, stacklevel=2)
    return getattr(catalogue, name)
