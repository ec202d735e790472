"""Which answers are taken for which: the stitched model's against the target's own."""

from __future__ import annotations

from typing import Any

from hf_stitch.report.plain_json import part
from hf_stitch.report.rendering.run_words import grouped
from hf_stitch.report.rendering.section import Section, Table, drawn
from hf_stitch.report.report import Report

ORDER = 62
READS = ("confusion",)
CLASSES = 8  # a table of more is wider than the page; by hand
PAIRS = 20  # mistakes that are listed then; by hand


def build(report: Report) -> Section | None:
    counts = {str(own): part(row) for own, row in part(report.diagnostics.confusion).items()}
    classes = list(dict.fromkeys([*counts, *(str(given) for row in counts.values() for given in row)]))
    if len(classes) < 2:  # one answer to everything: nothing to take for another
        return None
    if len(classes) <= CLASSES:
        lead = "Numbers of test samples: a row the target's own answer, a column what the stitched model answers."
        return drawn("Which answers are taken for which", [], [_matrix(counts, classes)], lead)
    return _list(counts, len(classes))


def _matrix(counts: dict[str, dict[str, Any]], classes: list[str]) -> Table:
    """A square table of all classes that were answered."""
    rows = [[f"target: {own}", *(grouped(counts.get(own, {}).get(given, 0)) for given in classes)] for own in classes]
    return Table(["own answer", *(f"stitched: {given}" for given in classes)], rows)


def _list(counts: dict[str, dict[str, Any]], classes: int) -> Section | None:
    """The commonest mistakes of many classes."""
    mistakes = [(own, given, n) for own, row in counts.items() for given, n in row.items() if given != own]
    mistakes.sort(key=lambda one: -one[2])
    lead = f"The commonest mistakes among {classes} classes, of {len(mistakes)} kinds; report.json has all."
    rows = [[own, given, grouped(n)] for own, given, n in mistakes[:PAIRS]]
    table = Table(["the target answers", "the stitched model answers", "test samples"], rows)
    return drawn("Which answers are taken for which", [], [table], lead)
