"""Short stable hashes of plain data."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def digest(content: Any) -> str:
    """Short stable hash of plain data."""
    # Sorted and without blanks: the same content has the same bytes whoever built it.
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    # 96 bits, by hand: short enough for a folder's name.
    return hashlib.sha256(text.encode()).hexdigest()[:24]
