"""Metrics for the `evaluate` library, one folder each: `evaluate.load(metric_path("stitch_agreement"))`, offline."""

from __future__ import annotations

from pathlib import Path

from hf_stitch.errors import DataError, nearest


def names() -> list[str]:
    """Names of the shipped metrics."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*/*.py") if path.stem == path.parent.name)


def metric_path(name: str) -> str:
    """Folder of a shipped metric, as `evaluate.load` and `evaluate.combine` take it. Raises DataError if unknown."""
    if name not in names():
        raise DataError(f"expected the name of a metric, received {name!r}; {nearest(name, names())}")
    return str(Path(__file__).parent / name)
