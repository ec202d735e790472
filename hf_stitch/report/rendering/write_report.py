"""Write what a run leaves for people and programs beside the model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hf_stitch.report.rendering.card import card_for
from hf_stitch.report.rendering.page import page_for
from hf_stitch.report.report import Report
from hf_stitch.runtime.extras import extra
from hf_stitch.runtime.files import write_text


def write_report(report: Report, directory: str | Path) -> list[Path]:
    """Write `report.json`, `report.html` and the model card `README.md`; return their paths.

    The files are functions of the report alone, made anew each time; a file of the same name is replaced. A page or
    card that cannot be drawn is a note of the report, which is the result.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    texts, notes = dict[str, str](), list[str]()
    for name, draw in {"report.html": page_for, "README.md": card_for}.items():
        with extra(name, notes):
            texts[name] = draw(report)
        if name not in texts:
            (directory / name).unlink(missing_ok=True)  # one of before would tell of another run
    for name, text in texts.items():
        write_text(directory / name, text)
    whole = replace(report, notes=[*report.notes, *notes]) if notes else report
    whole.save(directory / "report.json")  # last: its presence says that all is there
    return [directory / "report.json", *(directory / name for name in texts)]
