"""Answers that are pictures: what the stitched model gives for held-out samples, beside what it should give."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

from PIL import Image

from hf_stitch.report.plain_json import part
from hf_stitch.report.rendering.section import Section
from hf_stitch.report.report import Report

ORDER = 40
READS = ("pictures",)


def build(report: Report) -> Section | None:
    """A column a held-out sample and a row a kind of answer, for each direction."""
    found = part(report.diagnostics.pictures)
    shown = [(direction, _table(part(found, direction))) for direction in found]
    shown = [(direction, table) for direction, table in shown if table["rows"]]
    return Section("pictures", {"tables": shown}) if shown else None


def _table(found: Mapping[str, Any]) -> dict[str, Any]:
    height, width = found.get("shape", (0, 0))
    rows = [
        (title, [png(base64.b64decode(one), int(height), int(width)) for one in row])
        for title, row in part(found, "rows").items()
    ]
    return {"samples": found.get("samples", []), "rows": rows}


def png(levels: bytes, height: int, width: int) -> str:
    """A grey picture of height x width bytes as a data URL; "" where there are fewer or more."""
    if len(levels) != height * width:
        return ""
    file = io.BytesIO()
    Image.frombytes("L", (width, height), levels).save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
