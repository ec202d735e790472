"""Samples that a stitched model answers otherwise, on the page: as they are, with both answers, and harmless."""

from __future__ import annotations

import base64
import dataclasses
import re
from typing import Any

import pytest
import reports

from hf_stitch.report.data_held import data_held
from hf_stitch.report.rendering.card import card_for, slim
from hf_stitch.report.rendering.page import page_for
from hf_stitch.report.rendering.sections.confusion import CLASSES, PAIRS
from hf_stitch.report.rendering.sections.failures import NAMED
from hf_stitch.report.report import Report

CODED = base64.b64encode(b"fLaC and more").decode()
SHOWN: dict[str, tuple[dict[str, Any], list[str]]] = {
    "text": ({"text": "a plain text", "characters": 12}, ["<bdi>a plain text</bdi>"]),
    "cut text": ({"text": "abc", "characters": 900}, ["<bdi>abc</bdi>", "the first 3 of 900 characters"]),
    "no text": ({"text": "", "characters": 0}, ["(nothing)"]),
    "sound": (
        {"sound": CODED, "type": "audio/flac", "seconds": 1.25, "of": 1.25},
        [f'<audio controls preload="none" src="data:audio/flac;base64,{CODED}" aria-label="', "1.2 s"],
    ),
    "cut sound": ({"sound": CODED, "type": "audio/flac", "seconds": 5.0, "of": 61.0}, ["the first 5.0 s of 61.0 s"]),
    "picture": ({"picture": CODED, "type": "image/jpeg"}, [f'<img src="data:image/jpeg;base64,{CODED}" alt="']),
    "numbers": ({"numbers": [0.5, 2.25, None], "of": 3}, ["<bdi>0.500, 2.25, n/a</bdi>"]),
    "cut numbers": ({"numbers": [1.0], "of": 70}, ["<bdi>1.00</bdi>", "the first 1 of 70 numbers"]),
    "label": ({"label": "very good", "score": 0.98765}, ["<bdi>very good</bdi>", "score 0.988"]),
    "label alone": ({"label": "bad"}, ["<bdi>bad</bdi>"]),
    "nothing": ({}, ["could not be read"]),
}  # fmt: skip


def failing(*samples: dict[str, Any], count: int | None = 3, **more: Any) -> Report:
    found = {"failures": {"failing": count, "of": 40, "samples": list(samples)}, **more}
    return reports.speech_report(diagnostics=found)


def sample(shown: Any, **more: Any) -> dict[str, Any]:
    answers = {"target": {"label": "yes", "score": 0.75}, "stitched": {"label": "no", "score": 0.5}}
    return {"sample": "test-7", "inputs": {"source": shown}, "answers": answers, **more}


@pytest.mark.parametrize(("shown", "said"), SHOWN.values(), ids=SHOWN.keys())
def test_every_kind_of_input_and_answer_is_shown(shown: dict[str, Any], said: list[str]) -> None:
    for one in (
        sample(shown),
        sample({"text": "x"}, expected=shown),
        sample({"text": "x"}, answers={"target": shown, "stitched": {"label": "no"}}),
        {**sample({}), "inputs": {"source": {"text": "x"}, "target": shown}},
    ):
        page = page_for(failing(one))
        assert all(words in page for words in said)
        assert "<h3>test-7" in page


def test_a_sample_has_both_answers_with_scores_and_what_is_expected() -> None:
    page = page_for(failing(sample({"text": "hm"}, expected={"label": "yes"}, error=0.25)))
    text = " ".join(re.sub(r"<[^>]*>", " ", page).split())
    assert "the input hm the target answers yes score 0.750 the stitched model answers no score 0.500" in text
    assert "the data say yes" in text
    assert "share of other answers 0.250" in text
    assert "1 test sample of the 3 (of 40 of the test) that are answered otherwise" in text
    numbers = page_for(failing(sample({}), count=None))
    assert "<h2>Samples on which it is farthest from the target</h2>" in numbers
    assert "1 test sample whose answers are farthest from" in numbers


BAD = '"><script>alert(1)</script>'
HARM: dict[str, dict[str, Any]] = {
    "text": {"text": BAD, "characters": 5},
    "label": {"label": BAD, "score": 0.5},
    "type": {"sound": CODED, "type": f"audio/flac{BAD}"},
    "another type": {"picture": CODED, "type": "image/svg+xml"},
    "a page": {"picture": CODED, "type": "text/html"},
    "a picture as a sound": {"sound": CODED, "type": "image/png"},
    "content": {"picture": f"AAAA{BAD}", "type": "image/png"},
    "an address": {"picture": "http://evil.example/a.png", "type": "image/png"},
    "no text": {"sound": 7, "type": "audio/flac"},
}


@pytest.mark.parametrize("shown", HARM.values(), ids=HARM.keys())
def test_no_sample_breaks_the_page(shown: dict[str, Any]) -> None:
    page = page_for(failing({**sample(shown, expected=shown), "sample": BAD}))
    assert "<script" not in page
    assert not re.findall(r"<(?:img|audio)[^>]*>", page)
    assert "default-src 'none'" in page, "nothing is fetched or run, whatever stands in it"


def test_names_of_all_are_there_up_to_a_number() -> None:
    page = page_for(failing(wrong=[f"name-{i}" for i in range(NAMED + 7)], count=NAMED + 7))
    assert f"name-{NAMED - 1}" in page
    assert f"name-{NAMED}" not in page
    assert "and 7 more" in page
    assert "Samples that it answers otherwise" in page_for(reports.speech_report()), "a report of before: names alone"
    assert "On all 40 test samples" in page_for(failing(count=0))


def test_the_page_tells_what_it_holds_of_the_data_and_a_card_holds_nothing_of_it() -> None:
    report = failing(sample({"text": "x"}), sample({"sound": CODED, "type": "audio/flac"}), written={"samples": ["a"]})
    assert data_held(report) == [
        "the inputs of 2 samples (sounds, texts) with the answers to them",
        "the texts generated for 1 sample",
    ]
    assert all(words in page_for(report) for words in data_held(report))
    assert data_held(reports.speech_report()) == []
    assert "hold data of the test" not in page_for(reports.speech_report())
    assert slim(report).diagnostics.failures is None
    assert card_for(slim(report)) == card_for(report)


def confused(counts: dict[str, dict[str, int]]) -> str:
    page = page_for(reports.speech_report(diagnostics={"confusion": counts}))
    return page.partition("Which answers are taken for which")[2].partition("</section>")[0]


def test_a_confusion_matrix_has_a_row_a_class_of_the_target() -> None:
    found = confused({"yes": {"yes": 1234, "no": 2}, "no": {"no": 4}, "<b>": {"yes": 5}})
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr.*?</tr>", found, re.DOTALL)]
    assert rows == [
        ["own answer", "stitched: yes", "stitched: no", "stitched: &lt;b&gt;"],
        ["target: yes", "1\u202f234", "2", "0"],
        ["target: no", "0", "4", "0"],
        ["target: &lt;b&gt;", "5", "0", "0"],
    ]
    assert confused({"yes": {"yes": 9}}) == "", "one answer to everything: nothing to take for another"


@pytest.mark.parametrize("count", [CLASSES, CLASSES + 1, 400])
def test_of_many_classes_the_commonest_mistakes_are_listed(count: int) -> None:
    counts = {f"c{i}": {f"c{i}": 50, f"c{(i + 1) % count}": i + 1} for i in range(count)}
    found = confused(counts)
    assert (f"among {count} classes" in found) == (count > CLASSES)
    assert found.count("<tr ") == 1 + (count if count <= CLASSES else min(count, PAIRS))
    if count > CLASSES:
        assert found.index(">c0<") < found.index(f">c{count - 2}<"), "the last class is taken for the first most often"


def test_a_report_with_samples_reads_back() -> None:
    report = failing(sample({"text": "x"}), confusion={"a": {"b": 2}})
    assert Report.from_dict(report.to_dict()) == report
    assert page_for(Report.from_dict(report.to_dict())) == page_for(report)
    assert dataclasses.replace(report.diagnostics, failures=None).to_plain() == {"confusion": {"a": {"b": 2}}}
