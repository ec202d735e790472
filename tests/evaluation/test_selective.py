"""What trust is worth: curves and bins by hand, AUROC against its definition, probes of every kind of input."""

from __future__ import annotations

import numpy as np
import pytest
import reports
from scipy import stats

from hf_stitch.evaluation.answer_kinds.base import Scope
from hf_stitch.evaluation.ood_inputs import COUNT, OUTSIDE, ood_inputs
from hf_stitch.evaluation.selective import (
    ABSTAIN,
    OodAnswers,
    auroc,
    error_by_distance,
    ood_errors,
    ood_measures,
    risk_coverage,
    trust_measures,
)
from hf_stitch.report.measure import find
from hf_stitch.report.rendering.page import page_for
from hf_stitch.report.report import Report

SCOPE = Scope("test", "forward", 0, ["a"] * 50 + ["b"] * 50)


class FakePreparer:
    rate = 16000

    def __init__(self, modality: str) -> None:
        self.modality = modality


class FakeSamples:
    def __init__(self, raws: list) -> None:
        self.raws = raws

    def __len__(self) -> int:
        return len(self.raws)

    def source(self, i: int) -> object:
        return self.raws[i]

    def batch(self, indices: range, side: int) -> list:
        return [self.raws[i] for i in indices]


def test_kept_and_refused() -> None:
    trust = np.where(np.arange(100) < 10, ABSTAIN / 2, 0.5)
    wrong = np.isin(np.arange(100), [0, 1, 2, 3, 60])
    found = trust_measures("rbf", trust, wrong, "agreement", SCOPE)
    values = {(m.name, m.split): (m.value, m.n) for m in found}
    assert values["abstained", "test"] == (0.1, 100)
    assert values["abstained", "test/a"] == (0.2, 50)
    assert values["abstained", "test/b"] == (0, 50)
    assert values["agreement_kept", "test"] == (pytest.approx(89 / 90), 90)
    assert values["agreement_abstained", "test"] == (pytest.approx(0.6), 10)
    assert ("agreement_abstained", "test/b") not in values, "nothing was refused there"
    assert values["trust_auroc", "test"][0] == pytest.approx((4 * (89 + 6 / 2) + 1 * 89 / 2) / (5 * 95))
    for m in found:
        assert m.low <= m.value <= m.high, m.where
    errors = np.linspace(0, 1, 100)
    found = trust_measures("rbf", trust, errors, "output_mse", SCOPE)
    assert find(found, "output_mse_kept", "rbf").value == pytest.approx(errors[10:].mean())
    assert not [m for m in found if m.name == "trust_auroc"]


def test_auroc_is_a_chance_of_pairs() -> None:
    draw = np.random.default_rng(0)
    usual, odd = draw.integers(0, 9, 80) / 8, draw.integers(0, 6, 30) / 8
    wins = np.mean([(a > b) + 0.5 * (a == b) for a in usual for b in odd])
    found = auroc(usual, odd, 0)
    assert found.value == pytest.approx(wins)
    assert found == auroc(usual, odd, 0)
    assert found.low < wins < found.high
    assert auroc(usual + 5, odd, 0).value == auroc(usual + 5, odd, 0).low == 1
    kinds = {"tones": OodAnswers(odd, odd)}
    names = {(m.name, m.split) for m in ood_measures("rbf", kinds, usual, "agreement", "forward", 0)}
    assert names == {("abstained", "probe/tones"), ("trust_auroc", "probe/tones")}


@pytest.mark.parametrize(("n", "k", "levels"), [(80, 30, 9), (1, 1, 2), (7, 200, 3), (60, 90, 10**6)])
def test_auroc_and_its_bootstrap_are_those_of_all_pairs(n: int, k: int, levels: int) -> None:
    draw = np.random.default_rng(n)
    usual, odd = draw.integers(0, levels, n) / levels, draw.integers(0, levels, k) / levels
    wins = (usual[:, None] > odd) + 0.5 * (usual[:, None] == odd)
    again = np.random.default_rng(5)
    first, second = (again.multinomial(m, np.full(m, 1 / m), 2000) for m in (n, k))
    drawn = np.einsum("bi,ij,bj->b", first, wins, second, optimize=True) / (n * k)
    low, high = np.quantile(drawn, [0.025, 0.975])
    found = auroc(usual, odd, 5)
    assert (found.value, found.n) == (wins.sum() / (n * k), n + k)
    assert found.value == pytest.approx(stats.mannwhitneyu(usual, odd).statistic / (n * k), rel=1e-15)
    assert (found.low, found.high) == pytest.approx((low, min(high, 1)), abs=1e-12)


def test_errors_on_inputs_of_another_kind() -> None:
    trust, distance = np.repeat([0.001, 0.5], [6, 4]), np.arange(10.0)[::-1]
    known = {"outside": OodAnswers(trust, distance, distance**2), "tones": OodAnswers(trust, distance)}
    found = {(m.name, m.split): m for m in ood_measures("rbf", known, np.ones(5), "output_mse", "forward", 0)}
    assert found["abstained", "probe/outside"].value == 0.6
    assert found["output_mse_abstained", "probe/outside"].value == pytest.approx(np.mean(distance[:6] ** 2))
    assert found["output_mse_kept", "probe/outside"].value == pytest.approx(np.mean(distance[6:] ** 2))
    assert ("output_mse_kept", "probe/tones") not in found
    bins = ood_errors(known, False, 0)
    assert [(one["kind"], one["from"], one["to"]) for one in bins] == [("outside", 0, 4), ("outside", 5, 9)]


def test_risk_of_the_most_trusted() -> None:
    found = risk_coverage(np.array([0.9, 0.5, 0.5, 0.1]), np.array([0, 1, 0, 1]))
    assert found["coverage"] == [0.25, 0.75, 1.0], "equal trust comes in together"
    assert found["risk"] == pytest.approx([0, 1 / 3, 0.5])
    assert found["threshold"] == [0.9, 0.5, 0.1]
    many = risk_coverage(np.linspace(0, 1, 5000), np.ones(5000))
    assert len(many["coverage"]) <= 60
    assert many["coverage"][-1] == 1


def test_error_in_bins_of_distance() -> None:
    distance = np.r_[np.arange(80.0)[::-1], np.inf]
    bins = error_by_distance(distance, np.r_[np.arange(80.0)[::-1] ** 2, 7], False, 0)
    assert [one["n"] for one in bins] == [10] * 8, "what has no distance is in no bin"
    assert (bins[0]["from"], bins[0]["to"], bins[-1]["to"]) == (0, 9, 79)
    assert bins[0]["value"] == pytest.approx(np.mean(np.arange(10) ** 2))
    assert error_by_distance(np.array([np.inf]), np.ones(1), True, 0) == []


def test_probes_of_sound_text_and_numbers() -> None:
    sounds = FakeSamples([0.1 * np.sin(np.arange(8000 + i)) for i in range(40)])
    made = ood_inputs(FakePreparer("audio"), sounds, sounds, 0)  # type: ignore[arg-type]
    assert {name: len(raws) for name, raws in made.items()} == dict.fromkeys(
        ("white noise", "silence", "tones", "backwards"), COUNT
    )
    assert [len(raw) for raw in made["tones"]] == [8000 + i for i in range(COUNT)]
    for name in ("white noise", "tones"):
        assert np.std(made[name][0]) == pytest.approx(0.0707, rel=0.05), "as loud as the samples"
    again = ood_inputs(FakePreparer("audio"), sounds, sounds, 0)["white noise"]  # type: ignore[arg-type]
    assert np.array_equal(again[3], made["white noise"][3])
    texts = FakeSamples(["good film!"])
    (words,) = ood_inputs(FakePreparer("text"), texts, texts, 0)["random letters"]  # type: ignore[arg-type]
    assert words != "good film!"
    assert (len(words), words[4], words[-1]) == (10, " ", "!")
    box = FakeSamples([np.array([x, y]) for x in (-1.0, 3.0) for y in (0.0, 1.0)])
    assert np.array_equal(made["backwards"][5][::-1], np.float32(sounds.raws[5]))
    for name, points in ood_inputs(FakePreparer("vector"), box, box, 0).items():  # type: ignore[arg-type]
        out = np.abs((np.stack(points) - [1, 0.5]) / [2, 0.5]).max(1)
        assert OUTSIDE[name][0] <= out.min() <= out.max() <= OUTSIDE[name][1]
        assert np.ptp(out) > 0.5
    assert ood_inputs(FakePreparer("image"), box, box, 0) == {}  # type: ignore[arg-type]


def test_the_page_draws_what_trust_is_worth() -> None:
    trust = np.linspace(0, 1, 100)
    wrong = trust < 0.1
    probed = {"silence": OodAnswers(np.zeros(9), np.full(9, 2.0), np.ones(9, bool))}
    measures = trust_measures("rbf+nearest", trust, wrong, "agreement", SCOPE)
    measures += ood_measures("rbf+nearest", probed, trust, "agreement", "forward", 0)
    facts = {"method": "distance", "ingredients": ["distance", "image"], "samples": 99, "calibrated_on": "validation"}
    report = reports.speech_report()
    plain = report.to_dict()
    plain["measures"] += [m.__dict__ for m in measures]
    plain["diagnostics"] |= {
        "trust": facts,
        "risk_coverage": risk_coverage(trust, wrong),
        "error_by_distance": error_by_distance(1 - trust, wrong, True, 0) + ood_errors(probed, True, 0),
    }
    page = page_for(Report.from_dict(plain))
    said = ["Where it can be trusted", "Risk and coverage", "Error against distance", "of another kind"]
    for words in [*said, "probe/silence", "agreement where not", "Calibrated on 99 samples (validation)"]:
        assert words in page, words
    assert "Where it can be trusted" not in page_for(report)
    plain["diagnostics"] |= {"risk_coverage": {}, "error_by_distance": "?"}
    assert "Risk and coverage" not in page_for(Report.from_dict(plain))
