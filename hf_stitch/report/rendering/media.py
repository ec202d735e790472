"""Sounds and pictures that a report holds, as data URLs of the page; what is neither gives none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# What the page plays and shows; nothing that can hold a script, whoever wrote the report.
TYPES = {"sound": ("audio/flac",), "picture": ("image/png", "image/jpeg")}
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")


def data_url(found: Mapping[str, Any], kind: str) -> str:
    """The `sound` or `picture` of plain data as a URL, "" where it holds none."""
    content, media = found.get(kind), found.get("type")
    known = media in TYPES[kind] and isinstance(content, str) and _BASE64.fullmatch(content)
    return f"data:{media};base64,{content}" if known else ""
