"""A measure's interval and range: in words, in JSON, and in reports that held ranges as intervals."""

from __future__ import annotations

import json

import pytest
import reports

from hf_stitch.cli.terminal import tell
from hf_stitch.report import catalogue
from hf_stitch.report.measure import Measure, number
from hf_stitch.report.rendering.card import card_for
from hf_stitch.report.rendering.page import page_for
from hf_stitch.report.rendering.summary import summary, summary_markdown
from hf_stitch.report.report import Report
from hf_stitch.report.verdict.judge import judge

MEDIAN = Measure(
    "output_mse", "seeds/median", value=2e-9, n=5, better="lower", range_low=1.2345e-9, range_high=3e-9
)  # fmt: skip
RANGE = "(1.23e-09 to 3.00e-09 over 5)"


def _grouped() -> Report:
    return reports.parabola_report(measures=[*reports.parabola_report().measures, MEDIAN])


def test_what_stands_behind_a_value() -> None:
    share = Measure("agreement", "m", value=0.9, low=0.85, high=0.95, n=40)
    assert (share.interval, share.range) == ((0.85, 0.95), None)
    assert (share.spread(), share.written()) == ("[0.850, 0.950]", "0.900 [0.850, 0.950]")
    assert share.written(lambda value: f"{value:.0%}") == "90% [85%, 95%]"  # type: ignore[str-bytes-safe]
    assert (MEDIAN.interval, MEDIAN.range) == (None, (1.2345e-9, 3e-9))
    assert MEDIAN.written() == f"2.00e-09 {RANGE}"
    assert MEDIAN.spread(number) == RANGE
    assert Measure("agreement", "m").written() == "n/a"
    assert Measure("agreement", "m", value=1.0, low=0.5).spread() == "", "half an interval bounds nothing"


def test_a_range_is_in_the_json_of_groups_alone() -> None:
    plain = json.loads(_grouped().to_json())["measures"]
    assert plain[-1] == {
        "name": "output_mse", "method": "seeds/median", "split": "test", "direction": "forward", "value": 2e-9,
        "low": None, "high": None, "n": 5, "better": "lower", "range_low": 1.2345e-9, "range_high": 3e-9,
    }  # fmt: skip
    assert not [m for m in plain[:-1] if {"range_low", "range_high"} & set(m)]
    assert Report.from_dict(json.loads(_grouped().to_json())) == _grouped()


def test_ranges_that_were_held_as_intervals_are_read_as_ranges() -> None:
    plain = _grouped().to_dict()
    old = plain["measures"][-1]
    old["low"], old["high"] = old.pop("range_low"), old.pop("range_high")
    ratio = {**old, "name": "misalignment_ratio", "method": "a over b", "better": None}
    plain["measures"].append(ratio)
    before = json.dumps(plain)
    found = Report.from_dict(plain)
    assert found.measures[-2] == MEDIAN
    assert (found.measures[-1].range, found.measures[-1].interval) == (MEDIAN.range, None)
    assert json.dumps(plain) == before, "what was given is not changed"
    untouched = [m for m in found.measures[:-2] if m.method != "majority"]
    assert all(m.interval and m.range is None for m in untouched)
    assert untouched == [m for m in reports.parabola_report().measures if m.method != "majority"]


def test_a_method_that_is_called_so_has_an_interval() -> None:
    plain = _grouped().to_dict()
    own = {**plain["measures"][0], "method": "mine/median"}
    plain["measures"] = [own]
    plain["diagnostics"]["fits"]["mine/median"] = {}
    assert Report.from_dict(plain).measures[0].interval == (own["low"], own["high"])


def test_a_range_is_told_from_an_interval_everywhere(capsys: pytest.CaptureFixture[str]) -> None:
    report, plain = _grouped(), reports.parabola_report()
    assert [row for row in summary(report)[1] if row[0] == "seeds/median"] == [
        ["seeds/median", f"2.00e-09 {RANGE}", "", "5"]
    ]
    assert RANGE in summary_markdown(report)
    assert f"2.00e-09  {RANGE}" in report.table()
    assert "(range of members)" in report.table()
    assert "range of members" not in plain.table()
    card = card_for(report)
    assert f"| seeds/median | 2.00e-09 {RANGE} |" in card
    assert "the range of the members" in card
    assert "the range of the members" not in card_for(plain)
    page = page_for(report)
    assert '(<data value="1.2345e-09">1.23e-09</data> to <data value="3e-09">3.00e-09</data> over 5)' in page
    assert "the range of its members" in page
    assert "the range of its members" not in page_for(plain)
    tell(report)
    told = capsys.readouterr().out
    assert RANGE in told
    assert "in round brackets the range of a group's members" in told
    tell(plain)
    assert "round brackets" not in capsys.readouterr().out


def test_a_group_is_nobodys_rival() -> None:
    own = [
        Measure("output_mse", "majority", value=1.0, better="lower"),
        Measure("output_mse", "m", value=1e-3, low=9e-4, high=1.1e-3, better="lower"),
    ]
    assert "clearly better" not in judge([*own, MEDIAN], "m").text


def test_what_is_promoted_is_in_the_catalogue() -> None:
    promoted = {*catalogue.PRIMARY, *catalogue.DECIDING.values()}
    promoted |= {name for columns in catalogue.COLUMNS.values() for name in columns}
    assert promoted <= set(catalogue.MEASURES)
    assert all(catalogue.DECIDING[kind] in columns for kind, columns in catalogue.COLUMNS.items())
    assert {catalogue.kind_of(names) for names in (["wer", "agreement"], ["exact_match", "token_agreement"], [])} == {
        "classes", "texts", "numbers",
    }  # fmt: skip


def test_a_measure_that_the_catalogue_does_not_know_is_shown() -> None:
    report = reports.parabola_report(measures=[Measure("new_thing", "diffusion", value=0.5, low=0.25, high=2.0)])
    assert "New thing" in page_for(report)
    assert "| **diffusion** | 0.500 [0.250, 2.000] |" in card_for(report)
