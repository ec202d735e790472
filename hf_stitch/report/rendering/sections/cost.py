"""What the run took: time by stage, memory and parameters."""

from __future__ import annotations

from hf_stitch.report.rendering.run_words import other_sizes, path_words, size_notes, size_rows, stage_words
from hf_stitch.report.rendering.section import Section, Table, flat
from hf_stitch.report.report import Report

ORDER = 120
READS: tuple[str, ...] = ()
HEAD = ("part", "numbers held", "multiply-adds")


def build(report: Report) -> Section:
    """(stage, seconds, percent of the longest) in the order of the run, memory and parameters."""
    known = {stage: value for stage, value in report.timings.items() if value is not None and stage != "total"}
    longest = max(known.values(), default=0.0) or 1.0
    content = {
        "timings": [(stage_words(stage), value, round(100 * value / longest, 2)) for stage, value in known.items()],
        "sizes": Table(HEAD, size_rows(report.parameters)),
        "notes": size_notes(report.parameters),
        "other": [(path_words(path), text) for path, text in flat(other_sizes(report.parameters))],
    }
    return Section("cost", content)
