"""Answers that are texts: those generated for some held-out samples."""

from __future__ import annotations

from hf_stitch.report.plain_json import part
from hf_stitch.report.rendering.section import Section, Table, drawn
from hf_stitch.report.report import Report

ORDER = 50
READS = ("written",)
TITLES = {
    "stitched": "the stitched model writes",
    "target": "the target writes on its own input",
    "cascade": "the cascade writes",
    "should be": "reference",
    "source heard": "the source heard",
}


def build(report: Report) -> Section | None:
    lead = "Test samples, evenly spread over the data; none was picked by hand."
    return drawn("What is written", [], written_tables(report), lead)


def written_tables(report: Report) -> list[Table]:
    """A row a sample, a column a model or reference."""
    found = part(report.diagnostics.written)
    rows = part(found, "rows")
    names = [name for name in TITLES if name in rows]
    samples = [str(name) for name in found.get("samples") or []]
    shown = [[sample, *(str(rows[name][i]) for name in names)] for i, sample in enumerate(samples)]
    return [Table(["sample", *(TITLES[name] for name in names)], shown)] if shown else []
