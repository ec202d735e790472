"""The report as data: JSON and back, its schema, its errors, and the table of verdicts."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import reports
from pydantic import ValidationError

from hf_stitch.errors import ArtifactError, DataError
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.report.catalogue import VERDICTS
from hf_stitch.report.measure import Measure, number
from hf_stitch.report.report import Report
from hf_stitch.report.verdict.judge import judge

BOTH = [reports.speech_report, reports.parabola_report]


@pytest.mark.parametrize("make", BOTH)
def test_round_trip(make, tmp_path: Path) -> None:
    report = make()
    report.save(tmp_path / "deep" / "report.json")
    again = Report.load(tmp_path / "deep" / "report.json")
    assert again == report
    assert again.to_json() == report.to_json()
    assert Report.load(tmp_path / "deep") == report
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["report.json"]


def test_schema_names() -> None:
    plain = json.loads(reports.speech_report().to_json())
    assert list(plain) == [
        "schema", "recipe", "fingerprint", "environment", "timings", "memory_peak_bytes", "parameters", "measures",
        "verdict", "chosen", "diagnostics", "notes",
    ]  # fmt: skip
    assert plain["schema"] == 1
    assert list(plain["verdict"]) == ["code", "text", "next"]
    names = ["name", "method", "split", "direction", "value", "low", "high", "n", "better"]
    assert [list(m) for m in plain["measures"]] == [names] * len(plain["measures"])
    assert len(plain["measures"]) > 50


def test_what_is_not_finite_becomes_null_with_a_note(tmp_path: Path) -> None:
    measures = [Measure("r2", "affine", value=math.nan, low=-math.inf, high=np.float32(0.5), n=np.int64(3).item())]
    diagnostics = {"spectrum": np.array([1.0, math.nan, math.inf]), "folder": tmp_path, "deep": [{"x": (math.inf, 2)}]}
    report = reports.speech_report(
        measures=measures, diagnostics=diagnostics, timings={"fit": math.nan}, notes=["mine"]
    )
    text = report.to_json()
    assert "NaN" not in text
    assert "Infinity" not in text
    assert report.measures[0].value is None
    assert report.measures[0].low is None
    assert report.measures[0].high == 0.5
    assert report.diagnostics.other["spectrum"] == [1.0, None, None]
    assert report.diagnostics.other["folder"] == str(tmp_path)
    assert report.notes == [
        "mine",
        "no value: timings.fit held nan",
        "no value: diagnostics.spectrum held nan",
        "no value: diagnostics.spectrum held inf",
        "no value: diagnostics.deep.x held inf",
        "no value: r2 of affine on test (forward), n = 3, is not a finite number",
    ]
    report.save(tmp_path / "report.json")
    assert Report.load(tmp_path / "report.json") == report


def test_foreign_data_is_refused() -> None:
    with pytest.raises(TypeError, match=r"diagnostics\.thing.*object"):
        reports.speech_report(diagnostics={"thing": object()})
    with pytest.raises(ValidationError):
        reports.speech_report(mesures=[])
    with pytest.raises(ValidationError):
        Measure("kappa", "affine", direction="sideways")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "fit or evaluate first"),
        ('{"schema": 1, "recipe": {', "truncated"),
        ("\u00e9".encode("latin-1"), "truncated"),
        ("[]", "schema 1"),
        ('{"recipe": {}}', "received None"),
        ('{"schema": 2}', "received 2"),
        ('{"schema": 1}', "faults, the first at 'recipe'"),
    ],
)
def test_unreadable_reports_say_why(content: str | bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ArtifactError, match=message) as caught:
        Report.load(path)
    assert str(path) in str(caught.value)


def test_unknown_field_is_refused(tmp_path: Path) -> None:
    plain = reports.parabola_report().to_dict()
    with pytest.raises(ArtifactError, match="colour"):
        Report.from_dict({**plain, "colour": "blue"})
    plain["measures"][0]["valu"] = 3
    with pytest.raises(ArtifactError, match="valu"):
        Report.from_dict(plain)


def test_value_finds_the_saved_method_and_names_the_nearest() -> None:
    report = reports.speech_report()
    assert report.method == "rbf+nearest"
    assert report.value("agreement") == reports.rate("rbf+nearest")
    assert report.value("agreement", "cascade", "test/known") == reports.rate("cascade", "test/known")
    assert report.measure("wer", "source").better == "lower"
    with pytest.raises(DataError, match=r"kappa of rbf\+nearest on test"):
        report.value("kapa")
    for made in (report, reports.parabola_report()):
        assert Recipe.parse(made.recipe).label == made.method
    other = reports.speech_report(chosen={"method": "affine", "split": "validation", "measure": "kappa"})
    assert other.method == "rbf+nearest", "what was saved is the recipe's own, whatever validation liked"
    assert reports.speech_report(recipe={}).method == "rbf+nearest"
    assert reports.speech_report(recipe={}, chosen=None, measures=[]).method is None
    backward = reports.parabola_report().value("output_mse", direction="backward")
    assert backward == pytest.approx(reports.PARABOLA["diffusion"] * reports.BACKWARD)


def test_table_holds_every_measure() -> None:
    report = reports.speech_report()
    lines = report.table().splitlines()
    assert len(lines) == len(report.measures) + 2
    assert all(number(m.value, significant=m.better == "lower") in line for m, line in zip(report.measures, lines[2:]))
    assert "rbf+nearest *" in lines[2]
    assert "(backward)" in reports.parabola_report().table()


@pytest.mark.parametrize(
    ("value", "significant", "text"),
    [
        (None, True, "n/a"), (0.0, True, "0"), (0.0047, True, "0.00470"), (0.0891, True, "0.0891"),
        (12.0, True, "12.0"),
        (304.2, True, "304"), (4321.0, True, "4321"), (6.1e-10, True, "6.10e-10"), (1e7, True, "1.00e+07"),
        (0.965, False, "0.965"), (-0.0001, False, "0.000"), (2e-17, False, "0.000"), (-12.5, False, "-12.500"),
    ],
)  # fmt: skip
def test_numbers_as_people_read_them(value: float | None, significant: bool, text: str) -> None:
    assert number(value, significant) == text


def _classes(agreement, kappa=None, majority=0.5, cascade=None, minus=None, own=None, accuracy=None) -> list[Measure]:
    """Measures of method `m` given as (value, low, high) or a value."""

    def make(name: str, method: str, found) -> Measure:
        value, low, high = found if isinstance(found, tuple) else (found, None, None)
        return Measure(name, method, value=value, low=low, high=high, n=200)

    given = [
        ("agreement", "m", agreement), ("kappa", "m", kappa), ("agreement", "majority", majority),
        ("agreement", "cascade", cascade), ("agreement_minus_cascade", "m", minus), ("accuracy", "target", own),
        ("accuracy", "m", accuracy),
    ]  # fmt: skip
    return [make(name, method, found) for name, method, found in given if found is not None]


def _errors(error, constant=None) -> list[Measure]:
    value, low, high = error
    measures = [Measure("output_mse", "m", value=value, low=low, high=high, n=100, better="lower")]
    if constant is not None:
        measures.append(Measure("output_mse", "majority", value=constant, n=100, better="lower"))
    return measures


def _vectors(explained, found, own=1.0) -> list[Measure]:
    """R2 and samples found first of method `m`, beside the mean vector and the target itself."""
    known = [("vector_r2", "m", explained), ("retrieval_r1", "m", found)]
    known += [("retrieval_r1", "mean", (0.01, 0.0, 0.03)), ("retrieval_r1", "target", (own, own, own))]
    return [Measure(name, method, value=v[0], low=v[1], high=v[2], n=100) for name, method, v in known if v is not None]


GOOD, FINE = (0.965, 0.93, 0.983), (0.93, 0.876, 0.97)
CASES = [
    ("holds", _classes(GOOD, FINE), ["96.5 % [93.0, 98.3]", "kappa 0.930 [0.876, 0.970]", "commonest answer 50.0 %"]),
    ("holds", _classes(GOOD, FINE, 0.5, 0.975, (-0.01, -0.05, 0.025)), ["cascade 97.5 %", "not distinguishable"]),
    ("holds", _classes(GOOD, FINE, 0.5, 0.9, (0.065, 0.02, 0.1)), ["better than the cascade"]),
    ("holds", _classes(GOOD, FINE, own=0.97, accuracy=0.935), ["costs 3.5 points"]),
    ("holds", _classes(GOOD, FINE, own=0.93, accuracy=0.935), ["costs nothing"]),
    ("holds-partly", _classes(GOOD, FINE, 0.5, 0.999, (-0.034, -0.06, -0.01)), ["cascade is better", "3.4 points"]),
    ("holds-partly", _classes(GOOD, FINE, own=0.97, accuracy=0.85), ["costs 12.0 points"]),
    ("holds-partly", _classes((0.8, 0.74, 0.85), (0.6, 0.48, 0.7)), ["answers otherwise than the target too often"]),
    ("too-few-samples", _classes((0.95, 0.7, 1.0), (0.9, 0.3, 1.0)), ["not surely above 0.6"]),
    ("too-few-samples", _classes((0.97, 0.93, 0.99), (0.85, 0.7, 0.95), 0.94), ["test is too small"]),
    ("fails", _classes((0.62, 0.58, 0.66), (0.24, 0.16, 0.31)), ["too little to be of use"]),
    ("no-better-than-majority", _classes((0.654, 0.6, 0.7), (0.1, 0.02, 0.2), 0.93), ["always giving its commonest"]),
    ("no-better-than-majority", _classes((0.53, 0.46, 0.6), (0.06, -0.08, 0.2)), ["chance alone explains"]),
    ("no-better-than-majority", _classes((0.99, 0.97, 1.0), (0.0, -1.0, 1.0), 1.0), ["commonest answer"]),
    ("unscaled", _classes(GOOD, majority=None), ["shows nothing"]),
    ("unscaled", _classes(GOOD), ["kappa was not measured"]),
    ("regression-holds", _errors((6e-10, 4e-10, 1e-9), 0.09), ["6.00e-10 [4.00e-10, 1.00e-09]", "0.0900"]),
    ("regression-holds-partly", _errors((4.7e-3, 3e-3, 8e-3), 0.09), ["5.2 % of its variance"]),
    ("regression-fails", _errors((0.07, 0.06, 0.08), 0.09), ["most of the target's output is missed"]),
    ("no-better-than-constant", _errors((0.08, 0.06, 0.1), 0.09), ["no better than a constant answer"]),
    ("unscaled", _errors((0.08, 0.06, 0.1)), ["nothing was measured to compare"]),
    ("unscaled", _errors((0.08, 0.06, 0.1), 0.0), ["nothing was measured to compare"]),
    ("holds", _vectors((0.95, 0.94, 0.96), (0.97, 0.95, 0.98)), ["R2 of 0.950 [0.940, 0.960]", "97.0 % [95.0, 98.0]"]),
    ("holds", _vectors((0.95, 0.94, 0.96), (0.5, 0.48, 0.52), own=0.52), ["the target itself 52.0 %"]),
    ("holds-for-search", _vectors((0.42, 0.4, 0.44), (0.96, 0.94, 0.97)), ["R2 below 0.9", "train it on the stitched"]),
    ("holds-partly", _vectors((0.95, 0.94, 0.96), (0.7, 0.65, 0.75)), ["too few are found (found first below 0.8)"]),
    ("fails", _vectors((0.2, 0.15, 0.25), (0.3, 0.25, 0.35)), ["too little to be of use"]),
    ("no-better-than-constant", _vectors((-0.1, -0.2, 0.0), (0.01, 0.0, 0.02)), ["always giving the mean vector"]),
    ("unscaled", _vectors((0.9, 0.8, 0.95), None), ["too few to say"]),
    ("not-measured", [], ["Nothing is known of m"]),
    ("not-measured", [Measure("agreement", "m", value=math.nan)], ["Nothing is known of m"]),
]


@pytest.mark.parametrize(("code", "measures", "words"), CASES)
def test_verdicts(code: str, measures: list[Measure], words: list[str]) -> None:
    verdict = judge(measures, "m")
    assert verdict.code == code
    assert [word for word in words if word not in verdict.text] == []
    assert verdict.text.endswith(".")
    assert verdict.next.endswith(".")


def test_every_code_has_a_case_and_words() -> None:
    assert {code for code, _, _ in CASES} | {"comparison-only"} == set(VERDICTS)


def test_a_model_that_needs_the_true_lengths_is_for_comparison_only() -> None:
    measures = _classes((0.95, 0.91, 0.97), (0.9, 0.85, 0.95), 0.5)
    verdict = judge(measures, "m", asked={"sequence": {"target_length": "oracle"}})
    assert verdict.code == "comparison-only"
    assert "ratio" in verdict.next


def test_advice_leaves_out_what_was_done() -> None:
    measures = _classes((0.53, 0.46, 0.6), (0.06, -0.08, 0.2), 0.5, 0.975)
    asked = {"sequence": {"length": "ctc"}, "stitch": {"landing": "nearest"}, "target": {"hook": "a.word_embedding"}}
    assert "length: ctc" in judge(measures, "m").next
    done = judge(measures, "m", asked=asked).next
    assert "length: ctc" not in done
    assert "landing" not in done
    assert "earlier" not in done
    assert "more pairs" in done


def test_agreement_alone_never_decides() -> None:
    assert judge([Measure("agreement", "m", value=0.999, low=0.99, high=1.0, n=5000)], "m").code == "unscaled"


def test_remedy_names_the_better_cascade() -> None:
    verdict = judge(_classes((0.53, 0.46, 0.6), (0.06, -0.08, 0.2), 0.5, 0.975), "m")
    assert "Use the cascade (97.5 %)" in verdict.next
    assert "cascade" not in judge(_classes((0.53, 0.46, 0.6), (0.06, -0.08, 0.2)), "m").next


def test_a_clearly_better_rival_is_named() -> None:
    def agreeing(method: str, value: float, low: float, high: float) -> Measure:
        return Measure("agreement", method, value=value, low=low, high=high, n=200)

    own = _classes((0.8, 0.74, 0.85), (0.6, 0.48, 0.7))
    named = judge([*own, agreeing("affine", 0.95, 0.91, 0.97), agreeing("rbf", 0.9, 0.86, 0.93)], "m")
    assert "of the compared methods affine does clearly better (95.0 %)." in named.text
    assert named.next.startswith("Consider affine, choosing on validation.")
    for nobody in (
        agreeing("rbf", 0.86, 0.8, 0.9),
        agreeing("trim@oracle", 1.0, 0.98, 1.0),
        agreeing("cascade", 1, 1, 1),
    ):
        assert "clearly better (" not in judge([*own, nobody], "m").text
    errors = _errors((6e-10, 4e-10, 1e-9), 0.09)
    affine = Measure("output_mse", "affine", value=5e-13, low=4e-13, high=6e-13, better="lower")
    assert judge([*errors, affine], "m").text.endswith("affine does clearly better (5.00e-13).")
    assert judge([*errors, affine], "affine").text.count("clearly better") == 0


def test_judging_another_split_or_direction() -> None:
    report = reports.speech_report()
    assert judge(report.measures, "trim", split="test/known").code == "no-better-than-majority"
    assert judge(reports.parabola_report().measures, "diffusion", direction="backward").code == "regression-holds"


def test_only_answers_to_the_same_question_are_rivals() -> None:
    errors = [
        Measure("output_mse", "majority", value=1.0),
        Measure("output_mse", "m", value=1e-3, low=9e-4, high=1.1e-3),
        Measure("output_mse", "another target", value=1e-9, low=0.9e-9, high=1.1e-9),
        Measure("output_mse", "affine", value=1e-4, low=0.9e-4, high=1.1e-4),
    ]
    assert "another target does clearly better" in judge(errors, "m").text
    assert "affine does clearly better" in judge(errors, "m", rivals=["m", "affine"]).text
    assert "clearly better" not in judge(errors, "m", rivals=["m"]).text
