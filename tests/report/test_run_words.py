"""What a run took is told in words with units: no name of `report.json` stands on the page as it is."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import reports

import hf_stitch
from hf_stitch.report.diagnostics import Diagnostics
from hf_stitch.report.rendering.page import page_for
from hf_stitch.report.rendering.run_words import grouped, size_rows, stage_words
from hf_stitch.report.report import Report

CARDS = sorted((Path(__file__).parents[2] / "model_cards").rglob("*.json"))
SOURCES = "\n".join(path.read_text(encoding="utf-8") for path in sorted(Path(hf_stitch.__file__).parent.rglob("*.py")))
STAGES = sorted(set(re.findall(r'timings\.stage\(f?"([^"]+)"', SOURCES)) - {"total"})


def test_the_stages_are_found() -> None:
    assert len(STAGES) >= 8


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_of_a_run_has_words(stage: str) -> None:
    name = re.sub(r"{[^}]*}", "rbf+nearest", stage)
    words = stage_words(name)
    assert words != name
    assert not re.search(r"[a-z][._][a-z]", words)
    assert "rbf+nearest" in words or "{" not in stage


@pytest.mark.parametrize("card", CARDS, ids=lambda path: path.stem)
def test_no_key_stands_in_what_it_took(card: Path) -> None:
    report = dataclasses.replace(Report.load(card), measures=[], diagnostics=Diagnostics())
    page = page_for(report)
    (section,) = re.findall(r"<section>\s*<h2>What it took</h2>.*?</section>", page, re.DOTALL)
    text = re.sub(r"<[^>]*>", " ", section)
    keys = [*report.timings, *report.parameters, *report.parameters.get("multiply_adds", {})]
    raw = [key for key in keys if re.search(r"[._]", key) and re.search(rf"(?<!\S){re.escape(key)}(?!\S)", text)]
    assert not raw
    for value in (*report.parameters.values(), *report.parameters.get("multiply_adds", {}).values()):
        assert not isinstance(value, int) or grouped(value) in text


def test_sizes_of_another_version_are_shown_too() -> None:
    sizes = {"prefix": 12345, "layer": {"parameters": 7}, "odd_ones": 9, "multiply_adds": {"suffix": 8, "per_token": 6}}
    page = page_for(reports.speech_report(parameters=sizes))
    assert size_rows(sizes) == [
        ("first half of the source", "12\u202f345", ""), ("second half of the target", "", "8"),
    ]  # fmt: skip
    for name, value in (("layer, parameters", 7), ("odd ones", 9), ("multiply adds, per token", 6)):
        assert f"<dt>{name}</dt><dd>{value}</dd>" in page
