"""A report as people meet it in Python: a line, a text, a page in a notebook, a table of pandas."""

from __future__ import annotations

import dataclasses
from html.parser import HTMLParser

import pandas
import pytest
from reports import parabola_report, speech_report

from hf_stitch.report.measure import Measure
from hf_stitch.report.report import Report

REPORTS = {"classes": speech_report, "numbers": parabola_report}


@pytest.fixture(params=REPORTS)
def report(request: pytest.FixtureRequest) -> Report:
    return REPORTS[request.param]()


def test_pandas_holds_every_measure(report: Report) -> None:
    frame = report.to_pandas()
    assert list(frame.columns) == [field.name for field in dataclasses.fields(Measure)]
    back = [
        Measure(**{key: None if pandas.isna(value) else value for key, value in row.items()})
        for row in frame.astype(object).to_dict("records")
    ]
    assert back == report.measures
    assert frame["value"].dtype == frame["low"].dtype == "float64"
    one = frame.query("split == 'test' and direction == 'forward' and method == @report.method").iloc[0]
    assert one["value"] == report.value(one["name"])


def test_no_measures_are_an_empty_table(report: Report) -> None:
    bare = dataclasses.replace(report, measures=[])
    assert bare.to_pandas().shape == (0, len(dataclasses.fields(Measure)))
    assert bare.name in repr(bare)
    assert bare.verdict.text.split()[0] in str(bare)
    assert "<table" not in bare._repr_html_()


def test_a_line_and_a_text(report: Report) -> None:
    assert "\n" not in repr(report)
    assert len(repr(report)) < 200
    assert report.name in repr(report)
    assert report.verdict.code in repr(report)
    assert report.verdict.text in str(report)
    assert str(report).endswith(report.table())
    assert f"{report}" == str(report)


class Page(HTMLParser):
    """Checks that tags are closed in order, and keeps texts and tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [f"{name}={value}" for name, value in attrs if name in ("src", "href", "onclick", "onload")]
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_notebook_shows_the_verdict_and_all_measures(report: Report) -> None:
    page = Page(report._repr_html_())
    assert not page.open
    assert not page.links
    assert not {"script", "link", "img", "iframe", "style"} & set(page.tags)
    text = "".join(page.texts)
    assert report.verdict.text in text
    assert report.verdict.next in text
    assert page.tags.count("tr") == len(report.measures) + page.tags.count("table")
    for m in report.measures:
        assert m.write(m.value) in text
        assert m.spread() in text


def test_names_are_shown_and_not_run(report: Report) -> None:
    bad = "<script>alert(1)</script>&amp;"
    named = dataclasses.replace(
        report,
        recipe={**report.recipe, "name": bad},
        verdict=dataclasses.replace(report.verdict, text=bad, next=bad),
        measures=[*report.measures, dataclasses.replace(report.measures[0], method=bad, name=bad, split=bad)],
    )
    page = Page(named._repr_html_())
    assert "script" not in page.tags
    assert "".join(page.texts).count(bad) >= 5
