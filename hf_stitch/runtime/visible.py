"""Text from outside as a terminal may show it: what would command the terminal is spelt out."""

from __future__ import annotations

import json
import re
from typing import Any

# Control characters but tab and newline (escape sequences begin with one of them, and so do those of one byte, C1);
# line ends of Unicode; overrides of the direction of writing; halves of characters, which no stream can hold.
COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    """The text with `\\x1b` and its like spelt out."""
    return COMMANDS.sub(lambda found: ascii(found[0])[1:-1], text)


def json_line(row: Any, encoding: str | None) -> str:
    """JSON in one line that no terminal obeys; in ASCII where the encoding of the stream is not UTF-8."""
    only_ascii = (encoding or "").replace("-", "").lower() != "utf8"
    text = json.dumps(row, ensure_ascii=only_ascii, allow_nan=False)
    return COMMANDS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
