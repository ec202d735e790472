"""Tables of the page: as wide as the page, with a head each, and none for what does not vary."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from typing import Any

import pytest
import reports

from hf_stitch.report.measure import Measure
from hf_stitch.report.rendering.page import page_for
from hf_stitch.report.rendering.sections.measures import COLUMNS
from hf_stitch.report.report import Report


class Tables(HTMLParser):
    """Tables of a page: (role, tag, attributes, text) of their cells, row by row."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[list[list[tuple[str, dict[str, Any], list[str]]]]] = []
        self.inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.tables.append([])
            assert dict(attrs).get("role") == "table"
        if tag == "tr":
            self.tables[-1].append([])
        self.inside = tag in ("th", "td") or (self.inside and tag not in ("tr", "table"))
        if tag in ("th", "td"):
            self.tables[-1][-1].append((tag, dict(attrs), []))

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag not in ("th", "td")

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.tables[-1][-1][-1][2].append(data)


def measured(name: str, method: str, split: str, value: float, n: int = 50, **more: Any) -> Measure:
    return Measure(name, method, split, value=value, low=max(0.0, value - 0.1), high=min(1.0, value + 0.1), n=n, **more)


def of(*measures: Measure, **changes: Any) -> str:
    return page_for(reports.speech_report(measures=list(measures), **{"diagnostics": {}, **changes}))


MANY = [measured("agreement", m, f"test/{i}", 0.5 + i / 50) for m in ("rbf+nearest", "affine") for i in range(11)]
PAGES = {
    "speech": page_for(reports.speech_report()),
    "parabola": page_for(reports.parabola_report()),
    "many groups": of(*MANY, *(measured("agreement", "affine", split, 0.7) for split in ("test", "probe/x"))),
}


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES.keys())
def test_every_table_has_a_head_and_fits_on_the_page(page: str) -> None:
    tables = Tables(page).tables
    assert len(tables) > 4
    for head, *rows in tables:
        assert rows
        assert all("".join(text).strip() for _, _, text in head), "a column without a name"
        assert {(tag, at.get("scope"), at.get("role")) for tag, at, _ in head} == {("th", "col", "columnheader")}
        for first, *cells in rows:
            assert (first[0], first[1].get("scope"), first[1].get("role")) == ("th", "row", "rowheader")
            assert len(cells) == len(head) - 1
            assert {(tag, at.get("role")) for tag, at, _ in cells} == {("td", "cell")}
    style = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)[0]
    assert "overflow-x" not in style, "what is cut by a border may be cut in the middle of a number"


def test_columns_are_no_more_than_have_room_and_each_split_is_there_once() -> None:
    tables = [t for t in Tables(PAGES["many groups"]).tables if "".join(t[0][0][2]) == "method" and "test" in str(t[0])]
    assert max(len(table[0]) for table in tables) == COLUMNS + 1
    found = ["".join(text).split()[0] for table in tables for _, _, text in table[0][1:]]
    assert sorted(found) == sorted(["test", *(f"test/{i}" for i in range(11))])
    for table in tables:
        for row in table[1:]:
            for (_, _, head), (_, attributes, _) in zip(table[0][1:], row[1:]):
                assert attributes["data-label"].split(",")[0] == "".join(head).split()[0]


BOTH = ("rbf+nearest", "affine")
SAME = [measured("agreement", method, split, 1.0) for method in BOTH for split in ("test", "validation")]


def text_of(page: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", page[page.index("<main>") :]).split())


def test_what_is_the_same_for_all_methods_is_said_in_a_line() -> None:
    page = of(*SAME)
    assert '<table class="measures"' not in page.split("Where it fails")[0]
    said = [f"1.000 [ 0.900 , 1.000 ] on {split} n = 50" for split in ("test", "validation")]
    assert f"the same for rbf+nearest, affine: {' ; '.join(said)}" in text_of(page)


@pytest.mark.parametrize(
    "other",
    [
        measured("agreement", "majority", "test", 0.5),
        measured("agreement", "affine", "test/unseen", 0.9, 25),
        dataclasses.replace(SAME[0], method="trim", low=0.5),
    ],
)
def test_what_varies_is_a_table(other: Measure) -> None:
    assert '<table class="measures"' in of(*SAME, other).split("Where it fails")[0]


def groups(*names: str, n: int = 50) -> str:
    counts = {"test": 50, **{f"test/{name}": n for name in names}}
    rates = {"affine": 0.5, "trim": 0.7}
    return of(*(measured("agreement", m, split, rates[m], counts[split]) for m in rates for split in counts))


def test_one_group_has_no_column_of_its_own() -> None:
    assert "All samples of test are of one group, known." in text_of(groups("known"))
    assert ">test/known" not in groups("known")
    for several in (groups("known", "unseen"), groups("interior", n=30)):
        assert "of one group" not in several
        assert ">test/" in several


def failing(**profiles: dict[str, tuple[float, int]]) -> str:
    found = {
        name: {key: {"value": value, "low": 0.0, "high": 1.0, "n": n} for key, (value, n) in bins.items()}
        for name, bins in profiles.items()
    }
    return page_for(reports.speech_report(diagnostics=found))


@pytest.mark.parametrize(
    ("profiles", "said"),
    [
        ({"error_by_length": {"7-7": (0.25, 40)}}, "All inputs are of 7 timesteps: 25.0 % other answers, n = 40."),
        ({"error_by_class": {"sad": (0.1, 40)}}, "The target answers sad to all test samples: 10.0 % other answers"),
        ({"error_by_class": {"sad": (0.0, 40), "angry": (0.0, 7)}},
         "The same for all 2 classes of the target: 0.0 % other answers, n = 47."),
        ({"error_by_length": {"1-4": (0.0, 40), "4-9": (0.0, 40)}},
         "The same at all 2 lengths of the input: 0.0 % other answers"),
    ],
)  # fmt: skip
def test_a_profile_that_cannot_vary_is_a_line(profiles: dict[str, Any], said: str) -> None:
    page = failing(**profiles)
    assert said in text_of(page)
    assert 'class="measures profile"' not in page
    varied = {name: {**bins, "other": (0.9, 5)} for name, bins in profiles.items()}
    assert 'class="measures profile"' in failing(**varied)


@pytest.mark.parametrize(
    ("diagnostics", "said"),
    [
        ({"fits": {"rbf+nearest": {side: {"eigenvalues": [0.5]} for side in ("source", "target")}}},
         "Eigenvalues of the two diffusion maps: source 0.5, target 0.5."),
        ({"fits": {"rbf+nearest": {"source": {"eigenvalues": [1.0, 1.0]}}}}, "source 1 throughout."),
        ({"trust": {"samples": 9}, "risk_coverage": {"coverage": [0.5, 1.0], "risk": [0.0, 0.0]}},
         "most trusted share of the test: share of other answers 0 throughout."),
        ({"trust": {"samples": 9}, "error_by_distance": [{"median": k, "value": 0.0} for k in range(3)]},
         "Error against distance, on the test: share of other answers 0 throughout."),
        ({"jacobian": {"rows": {"condition": [1.0] * 9, "directions": 2, "held": 0.9, "inside": {}}}},
         "Condition numbers at held-out activations: 1 throughout."),
    ],
)  # fmt: skip
def test_a_drawing_that_cannot_vary_is_a_line(diagnostics: dict[str, Any], said: str) -> None:
    page = page_for(reports.speech_report(diagnostics=diagnostics))
    assert said in text_of(page)
    assert "<svg" not in page


def test_a_range_is_written_in_words_on_page_and_card_and_an_interval_in_brackets() -> None:
    report: Report = reports.speech_report()
    spread = {"value": 2.0, "range_low": 1.0, "range_high": 3.0, "n": 5, "better": "lower"}
    group = Measure("misalignment_ratio", "maps/median", **spread)  # type: ignore[arg-type]
    page = text_of(page_for(dataclasses.replace(report, measures=[*report.measures, group])))
    assert "2.00 ( 1.00 to 3.00 over 5)" in page
    assert not re.search(r"\[ ?1.00 ?, 3.00 ?\]", page)
