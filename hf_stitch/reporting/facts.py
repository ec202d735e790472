"""Where in a report's free-form diagnostics things stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hf_stitch.report import Report

SIDES = ("source", "target")


def layer_of(report: Report) -> dict[str, Any]:
    """The stitching layer's own diagnostics: under `layer`, or at the top."""
    return part(report.diagnostics, "layer") or report.diagnostics


def part(plain: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """A nested mapping, empty where there is none."""
    found: Any = plain
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return dict(found) if isinstance(found, Mapping) else {}


def warnings_of(report: Report) -> list[str]:
    """Warnings of the run and of the layer, each once."""
    layer = layer_of(report)
    lists = [plain.get("warnings") for plain in (report.diagnostics, layer)]
    found = [text for texts in lists if isinstance(texts, list) for text in texts]
    found += [part(layer, side).get("whitney") for side in SIDES]
    return list(dict.fromkeys(str(text) for text in found if text))
