"""Diagnostics as a type: what `report.json` holds of them, today and as other versions wrote it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reports

from hf_stitch.report.diagnostics import Diagnostics
from hf_stitch.report.rendering.page import page_for
from hf_stitch.report.report import Report

CARDS = Path(__file__).parents[2] / "model_cards"
FIELDS = [field.name for field in dataclasses.fields(Diagnostics) if field.name != "other"]


def test_what_is_absent_is_left_out() -> None:
    assert Diagnostics().to_plain() == {}
    assert Diagnostics.from_plain({}) == Diagnostics()
    some = Diagnostics(warnings=[], task="tabular-regression", fits={"affine": {}})
    assert list(some.to_plain().items()) == [("fits", {"affine": {}}), ("task", "tabular-regression"), ("warnings", [])]
    assert Diagnostics.from_plain(some.to_plain()) == some


def test_what_another_version_wrote_is_kept() -> None:
    plain = {"fits": {}, "task": None, "warnings": "none", "doctor": {"pulse": 60}, "other": 3}
    found = Diagnostics.from_plain(plain)
    assert (found.fits, found.task, found.warnings) == ({}, None, None), "no field holds what its type does not allow"
    assert found.other == {key: value for key, value in plain.items() if key != "fits"}
    assert found.to_plain() == plain
    report = reports.speech_report(diagnostics=plain)
    assert Report.from_dict(json.loads(report.to_json())).to_dict()["diagnostics"] == plain
    page = page_for(report)
    assert "<dt>doctor.pulse</dt><dd>60</dd>" in page
    assert "<dt>warnings</dt><dd>none</dd>" in page, "what is not shaped like its field is not hidden by its name"


@pytest.mark.parametrize("path", sorted(CARDS.rglob("*.json")), ids=lambda path: path.stem)
def test_a_kept_report_is_written_as_it_was(path: Path) -> None:
    report = Report.load(path)
    assert report.to_json() == path.read_text(encoding="utf-8")
    assert report.diagnostics.other == {}
    assert set(report.diagnostics.to_plain()) <= set(FIELDS)


def test_a_report_takes_diagnostics_or_their_plain_data() -> None:
    plain = {"wrong": ["test-1"], "colour": [0.5, 1.0]}
    given = reports.speech_report(diagnostics=Diagnostics(wrong=["test-1"], colour=np.array([0.5, 1.0])))  # type: ignore[arg-type]
    assert given == reports.speech_report(diagnostics=plain)
    assert given.diagnostics.colour == [0.5, 1.0], "plain JSON data, whatever was given"
    changed = given.to_dict()
    changed["diagnostics"]["wrong"].append("test-2")
    assert given.diagnostics.wrong == ["test-1"]


def test_warnings_carry_the_label_of_methods_that_were_not_saved() -> None:
    fits: dict[str, Any] = {"affine": {"warnings": ["few rows", ""]}, "rbf": {"warnings": ["few rows"]}, "odd": 3}
    found = Diagnostics(fits=fits, warnings=["slow", "slow"])
    assert found.all_warnings("affine") == ["slow", "few rows", "rbf: few rows"]
    assert found.all_warnings(None) == ["slow", "affine: few rows", "rbf: few rows"]
    report = reports.speech_report(diagnostics=found, notes=["slow", "mine"])
    assert report.further_notes == ["mine"]
    assert reports.speech_report(diagnostics={}).warnings == []


def test_clouds_of_the_saved_method_come_first() -> None:
    fits = {"affine": {}, "diffusion": {"source": {"eigenvalues": [1]}}, "maps": {"target": {"eigenvalues": [2]}}}
    found = Diagnostics(fits=fits)
    assert found.clouds("maps") == ("maps", {"source": {}, "target": {"eigenvalues": [2]}})
    assert found.clouds("affine")[0] == "diffusion"
    assert Diagnostics().clouds("affine") == ("", {"source": {}, "target": {}})


def test_seconds() -> None:
    assert reports.speech_report().seconds == reports.speech_report().timings["total"]
    assert reports.speech_report(timings={"a": 1.0, "b": 2.0, "c": None}).seconds == 3.0
    assert reports.speech_report(timings={}).seconds is None


def test_findings_have_their_names_in_the_json_as_keys() -> None:
    found = Diagnostics(task="a-task", other={"mine": 1})
    assert (found["task"], found["mine"], "task" in found, "fits" in found) == ("a-task", 1, True, False)
    with pytest.raises(KeyError):
        found["fits"]
