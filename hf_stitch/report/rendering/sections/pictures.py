"""Answers that are pictures: what the stitched model gives for held-out samples, beside what it should give."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Mapping
from typing import Any

from hf_stitch.report.diagnostics import part
from hf_stitch.report.rendering.sections.section import Section
from hf_stitch.report.report import Report


def pictures(report: Report) -> Section | None:
    """A column a held-out sample and a row a kind of answer, for each direction."""
    found = part(report.diagnostics, "pictures")
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
    """A grey picture of height x width bytes as a data URL (PNG, ISO/IEC 15948: 8-bit grey, no filter)."""
    if len(levels) != height * width:
        return ""
    lines = b"".join(b"\0" + levels[row * width : (row + 1) * width] for row in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    file = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    return "data:image/png;base64," + base64.b64encode(file).decode("ascii")
