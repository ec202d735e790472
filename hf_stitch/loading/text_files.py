"""Text of files: UTF-8 with or without a byte order mark, in lines that end by line feed or carriage return alone."""

from __future__ import annotations

import re

from hf_stitch.errors import DataError


def decoded(content: bytes, name: str) -> str:
    """The text of a file's bytes.

    Raises:
        DataError: another encoding.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
        what = "it looks like UTF-16" if wide else f"byte {error.start} is 0x{content[error.start]:02x}"
        found = "utf-16" if wide else "cp1252"
        todo = f"save it as UTF-8, such as by iconv -f {found} -t utf-8"
        raise DataError(f"{name}: not text in UTF-8 ({what}); {todo}") from None


def lines_of(text: str) -> list[str]:
    """Its lines; `str.splitlines` ends them at eight more characters, which stand in texts."""
    return re.split(r"\r\n|\n|\r", text)
