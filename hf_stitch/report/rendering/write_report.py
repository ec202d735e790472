"""Write what a run leaves for people and programs beside the model."""

from __future__ import annotations

from pathlib import Path

from hf_stitch.report.rendering.card import card_for
from hf_stitch.report.rendering.page import page_for
from hf_stitch.report.report import Report
from hf_stitch.runtime.files import write_text


def write_report(report: Report, directory: str | Path) -> list[Path]:
    """Write `report.json`, `report.html` and the model card `README.md`; return their paths.

    The files are functions of the report alone, made anew each time; a file of the same name is replaced.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    texts = {"report.html": page_for(report), "README.md": card_for(report)}
    for name, text in texts.items():
        write_text(directory / name, text)
    report.save(directory / "report.json")  # last: its presence says that all is there
    return [directory / "report.json", *(directory / name for name in texts)]
