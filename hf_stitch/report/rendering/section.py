"""What a section of the page is: a template and what it is filled with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from hf_stitch.report.rendering.run_words import grouped
from hf_stitch.report.report import Report


@dataclass(frozen=True)
class Section:
    """`templates/sections/TEMPLATE.html.j2` with its content; every template sees the report too."""

    template: str
    content: Mapping[str, Any]


Builder = Callable[[Report], Section | None]
"""A section from a report alone, None where the report has nothing to say there."""


@dataclass(frozen=True)
class Figure:
    """SVG, caption, and its width on the page: `spectrum` a third, `cloud` a half, `wide` the whole.

    One without SVG is the caption alone: a line in place of a drawing in which nothing would vary.
    """

    svg: Markup
    caption: str
    kind: str = "spectrum"


def figure(svg: str, caption: str, kind: str = "spectrum", said: str = "") -> list[Figure]:
    """The figure, or what is `said` in its place, or nothing; `svg` is markup that `plots` made."""
    if svg:
        return [Figure(Markup(svg), caption, kind)]
    return [Figure(Markup(""), f"{caption}: {said}.", kind)] if said else []


@dataclass(frozen=True)
class Table:
    """Column titles, and rows whose first cell names them."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def drawn(title: str, figures: Sequence[Figure], tables: Sequence[Table] = (), lead: str = "") -> Section | None:
    """A section of figures and tables, None where there are none."""
    tables = [table for table in tables if table.rows]
    if not figures and not tables:
        return None
    return Section("figures", {"title": title, "lead": lead, "figures": figures, "tables": tables})


def fact(value: Any) -> str:
    """A value of the diagnostics as text."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    # By hand: longer lists are no longer read.
    if isinstance(value, list) and len(value) > 12:
        return f"{len(value)} values"
    return str(value)


def median_of(value: Any) -> str:
    """A median with the 10th and 90th percentile: in round brackets, since square ones hold 95 % intervals."""
    if not isinstance(value, list) or len(value) != 3 or None in value:
        return fact(value)
    return f"{value[0]:.3g} ({value[1]:.3g} to {value[2]:.3g})"


def flat(value: Any, path: str = "") -> list[tuple[str, str]]:
    """Nested data as rows (path, text)."""
    if isinstance(value, dict) and value:
        return [row for key, item in value.items() for row in flat(item, f"{path}.{key}" if path else str(key))]
    if isinstance(value, int) and not isinstance(value, bool):
        return [(path, grouped(value))] if path else []
    if isinstance(value, dict):
        return []
    if isinstance(value, list) and len(value) <= 12:
        return [(path, ", ".join(fact(item) for item in value))]
    return [(path, fact(value))] if path else []
