"""Rich's console for text from outside: brackets and colons are themselves, and nothing in it commands the terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from hf_stitch.runtime.visible import visible


class PlainConsole(Console):
    """A console that takes no text for markup: `[/b]` in a name is no end of bold, and no error."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        # All text that Rich is handed comes by here, that of a table's cells too.
        return super().render_str(visible(text), **options)
