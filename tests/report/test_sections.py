"""Sections of the page: each file of the folder is one, each has a place of its own, and nothing stays unseen."""

from __future__ import annotations

import base64
import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reports

import hf_stitch.report.rendering.sections
from hf_stitch.report.diagnostics import Diagnostics
from hf_stitch.report.rendering.find_sections import Found, found_sections, shown_diagnostics
from hf_stitch.report.rendering.page import page_for
from hf_stitch.report.report import Report

FOLDER = Path(hf_stitch.report.rendering.sections.__file__).parent
TEMPLATES = FOLDER.parent / "templates" / "sections"
COUNT = 18
FIELDS = [field.name for field in dataclasses.fields(Diagnostics) if field.name != "other"]


def test_every_file_is_a_section_with_a_place_of_its_own() -> None:
    found = found_sections()
    assert {section.name for section in found} == {path.stem for path in FOLDER.glob("[!_]*.py")}
    assert len(found) == COUNT
    orders = [section.order for section in found]
    assert orders == sorted(set(orders)), "no two share a place"
    assert (found[0].name, found[-1].name) == ("verdict", "asked")


def test_sections_read_fields_of_the_diagnostics() -> None:
    assert shown_diagnostics() < set(FIELDS), "what no section shows is listed by the last one"


@pytest.mark.parametrize("section", found_sections(), ids=lambda section: section.name)
def test_a_section_shows_what_it_reads_and_nothing_else(section: Found) -> None:
    shown = section.build(_told())
    for name in FIELDS:
        without = section.build(_told(name))
        if section.name == "asked":
            assert (shown == without) == (name in shown_diagnostics() - {"fits"}), name
        else:
            assert (shown != without) == (name in section.reads), name


def test_the_rows_of_every_fit_are_told() -> None:
    (build,) = [section.build for section in found_sections() if section.name == "fitted_rows"]
    near = {"source": {"dimension": [2.0, 1.0, 3.0]}}
    fits = {"rbf": {"rows": 12345, "dropped_words": 7}, "map": {"rows": 9, "neighbourhoods": near}, "old": {}}
    section = build(reports.parabola_report(diagnostics=Diagnostics(fits=fits)))
    assert section is not None
    (table,) = section.content["tables"]
    assert table.head == ["method", "rows", "words left out", "dimensions, source"], "no column without a number"
    assert table.rows == [["rbf", "12\u202f345", "7", ""], ["map", "9", "", "2 (1 to 3)"]]
    assert build(reports.parabola_report(diagnostics=Diagnostics(fits={"old": {}}))) is None


def test_every_template_is_used() -> None:
    built = [section.build(_told()) for section in found_sections()]
    assert {found.template for found in built if found} == {path.name.split(".")[0] for path in TEMPLATES.iterdir()}


def _told(without: str = "") -> Report:
    """A report that has something to say of everything, but of one field of the diagnostics."""
    found = dataclasses.replace(reports.speech_report().diagnostics, **SAMPLES)
    assert None not in [getattr(found, name) for name in FIELDS], "a field without a sample"
    return reports.parabola_report(
        notes=["mine"], diagnostics=dataclasses.replace(found, **({without: None} if without else {}))
    )


SAMPLES: dict[str, Any] = {
    "task": "audio-classification",
    "usage": {"takes": "audio", "pipeline": "stitched-classification", "rate": 8000},
    "pictures": {
        "forward": {"shape": [1, 2], "samples": ["s"], "rows": {"stitched": [base64.b64encode(b"\0\1").decode()]}}
    },
    "colour": np.linspace(0, 1, 256).tolist(),
    "confusion": {"yes": {"yes": 7, "no": 2}, "no": {"no": 4}},
    "failures": {"failing": 2, "of": 13, "samples": [{"sample": "s", "inputs": {"source": {"text": "t"}}}]},
    "error_by_distance": [{"from": k, "median": k + 0.5, "to": k + 1, "value": 0.5} for k in range(2)],
    "jacobian": {"absent": "no box"},
    "risk_coverage": {"coverage": [0.5, 1.0], "risk": [0.0, 0.5]},
    "trust": {"samples": 9, "calibrated_on": "fit", "ingredients": ["distance"]},
    "written": {"samples": ["s"], "rows": {"stitched": ["a text"]}},
}


@pytest.mark.parametrize(("name", "value"), [("licences", {"source": "mit"}), ("task", "tabular-regression")])
def test_what_no_section_shows_is_listed(name: str, value: Any) -> None:
    page = page_for(reports.speech_report(diagnostics={name: value}))
    assert f"<dt>{name}" in page
    assert str(value["source"] if isinstance(value, dict) else value) in page


def test_all_of_the_trust_gauge_is_shown() -> None:
    facts = {"samples": 99, "calibrated_on": "validation", "ingredients": ["distance"], "smallest": 0.0625, "rows": 77}
    page = page_for(reports.speech_report(diagnostics={"trust": facts}))
    assert "Calibrated on 99 samples (validation). Ingredients: distance." in page
    assert re.search(r"<th[^>]*>smallest</th><td[^>]*>0.0625</td>", page)
    assert re.search(r"<th[^>]*>rows</th><td[^>]*>77</td>", page)
