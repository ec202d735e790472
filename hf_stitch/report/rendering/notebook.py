"""A report as a notebook shows it: verdict and measures, as HTML that stands alone and runs no script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from hf_stitch.report import catalogue
from hf_stitch.report.measure import Measure
from hf_stitch.report.verdict.verdict import Verdict

HEAD = ("measure", "method", "split", "value", "95 % interval, or range of members", "n")
CELL = 'style="text-align:left;padding:0.15em 0.8em 0.15em 0"'


def notebook_html(name: str, method: str | None, verdict: Verdict, measures: Sequence[Measure], notes: int) -> str:
    """The page.

    Args:
        method: label of the method that was saved, whose rows stand out. notes: how many notes and warnings there are.
    """
    first = [m for m in measures if m.name in catalogue.PRIMARY and m.split == "test"]
    rest = [m for m in measures if m not in first]
    parts = [
        f"<strong>{escape(name)}</strong>: {escape(verdict.text)}",
        f"<br><em>{escape(verdict.next)}</em>" if verdict.next else "",
        _table(first, method) if first else "",
    ]
    if rest:
        parts.append(f"<details><summary>{len(rest)} more measures</summary>{_table(rest, method)}</details>")
    if notes:
        parts.append(f"<p>{notes} notes and warnings: <code>report.notes</code>, <code>report.warnings</code></p>")
    return f'<div class="hf-stitch-report">{"".join(parts)}</div>'


def _table(measures: Iterable[Measure], method: str | None) -> str:
    head = "".join(f"<th {CELL}>{escape(one)}</th>" for one in HEAD)
    rows = "".join(_row(m, m.method == method) for m in measures)
    return f'<table style="border-collapse:collapse"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _row(m: Measure, own: bool) -> str:
    title = catalogue.MEASURES[m.name].title if m.name in catalogue.MEASURES else catalogue.title_of(m.name)
    split = m.split if m.direction == "forward" else f"{m.split} ({m.direction})"
    cells = [title, m.method, split, m.write(m.value), m.spread(), "" if m.n is None else str(m.n)]
    written = [f"<strong>{escape(cell)}</strong>" if own and cell else escape(cell) for cell in cells]
    return "<tr>" + "".join(f"<td {CELL}>{cell}</td>" for cell in written) + "</tr>"
