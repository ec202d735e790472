"""The page: complete, self-contained, deterministic, and not to be broken by any text."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import reports

from hf_stitch.report.measure import Measure
from hf_stitch.report.rendering import plots
from hf_stitch.report.rendering.bars import Scale
from hf_stitch.report.rendering.page import page_for
from hf_stitch.report.rendering.write_report import write_report
from hf_stitch.report.report import Report

VOID = {"meta", "br", "link", "img", "hr", "input"}
REPORTS = {
    "speech": reports.speech_report(),
    "parabola": reports.parabola_report(),
    "empty": reports.speech_report(
        measures=[], diagnostics={}, timings={}, parameters={}, environment={}, notes=[], chosen=None,
        memory_peak_bytes=None, recipe={},
    ),
}  # fmt: skip
PAGES = {name: page_for(report) for name, report in REPORTS.items()}


class Page(HTMLParser):
    """Tags, attributes and text of a page; every element must be closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.mark.parametrize("name", PAGES)
def test_page_is_well_formed_and_self_contained(name: str) -> None:
    page = Page(PAGES[name])
    assert [tag for tag, _ in page.tags if tag in ("script", "link", "img", "iframe", "object", "base", "form")] == []
    for tag, attributes in page.tags:
        for key in ("src", "href", "xlink:href", "srcset", "action"):
            value = attributes.get(key)
            assert value is None or value.startswith("#"), (tag, key, value)
        assert not [key for key in attributes if key.startswith("on")]
    assert not re.search(r"https?:|@import|url\((?!#)", PAGES[name])


@pytest.mark.parametrize("name", ["speech", "parabola"])
def test_every_measured_number_is_on_the_page(name: str) -> None:
    page, report = Page(PAGES[name]), REPORTS[name]
    exact = {attributes.get("value") for tag, attributes in page.tags if tag == "data"}
    text = "".join(page.text)
    numbers = [end for m in report.measures for end in (m.value, m.low, m.high) if end is not None]
    assert len(numbers) > 60
    assert [end for end in numbers if str(end) not in exact] == []
    assert [m.where for m in report.measures if m.write(m.value) not in text] == []
    assert [m for m in report.measures if m.n is not None and f"n = {m.n}" not in text] == []
    assert [str(seconds) for seconds in report.timings.values() if str(seconds) not in exact] == []


@pytest.mark.parametrize("name", PAGES)
def test_page_says_what_was_found_and_what_to_do(name: str) -> None:
    text, report = " ".join("".join(Page(PAGES[name]).text).split()), REPORTS[name]
    for said in (report.verdict.code, report.verdict.text, report.verdict.next, report.fingerprint, *report.notes):
        assert " ".join(said.replace("`", "").split()) in text
    for label in (m.method for m in report.measures):
        assert label in text
    assert f'folder = "stitched/{report.name}"' in text
    assert f"hf-stitch predict stitched/{report.name}" in text


def test_diagnostics_are_on_the_page() -> None:
    text = "".join(Page(PAGES["speech"]).text)
    assert PAGES["speech"].count("<svg") == 5
    for said in (
        "2.5 (2 to 3.25)", "0.137", "6 selected features", "37 recognised words", "96-121", "positive", "655\u202f392",
        "apache-2.0", "test-0007", "As diffusion saw them", "1.3 GB", "best on validation", "transformers",
    ):  # fmt: skip
        assert said in text
    assert PAGES["empty"].count("<svg") == 0


def test_validation_liked_another() -> None:
    text = page_for(reports.speech_report(chosen={"method": "affine", "split": "validation", "measure": "agreement"}))
    assert "On validation affine was better (Agreement); this model is the recipe's own rbf+nearest." in text
    assert "best on validation (" not in page_for(
        reports.speech_report(chosen={"method": "rbf+nearest", "split": "none", "measure": ""})
    )


def test_page_is_a_pure_function_of_the_file(tmp_path: Path) -> None:
    report = REPORTS["speech"]
    paths = write_report(report, tmp_path / "new" / "folder")
    assert sorted(path.name for path in paths) == ["README.md", "report.html", "report.json"]
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == sorted(path.name for path in paths)
    assert page_for(Report.load(paths[0])) == PAGES["speech"] == paths[1].read_text(encoding="utf-8")
    assert page_for(report) == PAGES["speech"]
    assert len(PAGES["speech"]) < 250_000
    write_report(report, tmp_path / "new" / "folder")


EVIL = "</style></script><script>alert(1)</script>\"'><img src=x onerror=alert(1)> {{ 7*7 }} {% raw %} $x$ & \u202e `a`"


def _evil(value):
    """The same data with every string replaced by one that tries to break out."""
    if isinstance(value, dict):
        return {f"{key} {EVIL}" if key not in KEPT else key: _evil(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_evil(item) for item in value]
    return EVIL if isinstance(value, str) else value


KEPT = {
    "source", "target", "model", "hook", "class", "name", "description", "stitch", "method", "sequence", "length",
    "fits",
    "error_by_length", "error_by_class", "warnings", "value", "low", "high", "n", "neighbourhoods", "eigenvalues",
    "coordinates", "laplace", "residuals", "whitney", "data", "test", "dataset",
}  # fmt: skip


def test_no_text_breaks_the_page() -> None:
    base = reports.speech_report()
    measures = [Measure(m.name + EVIL, m.method + EVIL, m.split + EVIL, value=m.value) for m in base.measures[:9]]
    changes = {
        key: _evil(getattr(base, key))
        for key in ("recipe", "environment", "timings", "parameters", "diagnostics", "notes")
    }
    verdict = type(base.verdict)(EVIL, EVIL, EVIL)
    changes |= {"chosen": {"method": EVIL, "split": "validation", "measure": EVIL}, "fingerprint": EVIL}
    report = reports.speech_report(measures=base.measures + measures, verdict=verdict, **changes)
    page = Page(page_for(report))
    assert [tag for tag, _ in page.tags if tag in ("script", "img")] == []
    assert "49" not in "".join(page.text).split()
    assert sum(EVIL.replace("`a`", "a") in text or EVIL in text for text in [*page.text, "".join(page.text)]) > 3


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("share", [0.2, 0.9], Scale(0.0, 1.0)),
        ("signed", [0.2, 0.9], Scale(-0.1, 1.0)),
        ("signed", [-0.5, 0.9], Scale(-0.5, 1.0)),
        ("error", [2e-9, 0.3], Scale(1e-9, 1.0, True)),
        ("error", [0.1, 0.2], Scale(0.0, 0.2 * 1.1)),
        ("error", [0.0], Scale(0.0, 1e-12 * 1.1)),
    ],
)
def test_scales(kind: str, values: list[float], expected: Scale) -> None:
    scale = Scale.around([Measure("some", "m", value=value) for value in values], kind)
    assert (scale.low, scale.high, scale.logarithmic) == pytest.approx(
        (expected.low, expected.high, expected.logarithmic)
    )
    assert all(0 <= scale.at(value) <= 100 for value in (*values, -1.0, 0.0, 5.0))


def test_logarithmic_bars_are_even_in_decades() -> None:
    scale = Scale(1e-10, 1.0, True)
    assert [scale.at(10.0**power) for power in (-10, -5, 0)] == pytest.approx([0, 50, 100])


def test_figures_of_odd_clouds() -> None:
    assert plots.cloud([], None, "none") == ""
    assert plots.cloud([[1.0]], None, "one point") == ""
    assert plots.cloud([[1.0, None], [2.0, 1.0]], None, "a hole") == ""  # type: ignore[list-item]
    assert plots.cloud([[0.0], [0.0], [1.0]], None, "one coordinate").startswith("<svg")
    many = [[float(i), float(i * i)] for i in range(5000)]
    assert len(plots.cloud(many, None, 'a "many" <cloud>')) < 60_000
    assert 'aria-label="a &quot;many&quot; &lt;cloud>"' in plots.cloud(many, None, 'a "many" <cloud>')
    nearly_one = plots.spectra({"source": [0.99991, 0.99972, 0.9995]}, "y", "labels keep their digits")
    assert ">0.9995<" in nearly_one
    assert plots.spectra({"source": [], "target": [None]}, "y", "none") == ""  # type: ignore[list-item]
    assert plots.spectra({"source": [1.0, 0.5], "target": []}, "y", "one side").count("<svg") == 1
