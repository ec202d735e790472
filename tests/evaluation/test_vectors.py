"""Measures of vectors: R2 round the fit's mean, ranks with ties, chance, controls; and the verdict."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from hf_stitch.activations.ragged import Ragged
from hf_stitch.evaluation.answer_kinds.base import References, Scope
from hf_stitch.evaluation.answer_kinds.vectors import FOUND, Profiles, Vectors, ranks
from hf_stitch.evaluation.controls.direct import mean_activations
from hf_stitch.report.measure import Measure, find
from hf_stitch.report.verdict.judge import judge
from hf_stitch.report.verdict.thresholds import VECTORS_FAIR, VECTORS_HIGH, VECTORS_SURE, r2_of_kappa

KIND = Vectors()


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def measured(given: Any, own: np.ndarray, fitted: np.ndarray | None = None, **controls: Any) -> list[Measure]:
    """All measures of a method `m` and of the references."""
    references = References(KIND, own, {"mean": KIND.chance(own, fitted), **controls})
    scope = Scope("test", "forward", 0)
    return KIND.reference_measures(references, scope) + KIND.measures("m", given, references, scope)


def value(found: list[Measure], name: str, method: str = "m") -> float:
    measure = find(found, name, method)
    assert measure is not None
    assert measure.value is not None
    assert measure.interval is not None
    assert measure.interval[0] <= measure.value <= measure.interval[1]
    return measure.value


def test_measures_are_those_of_their_definitions() -> None:
    draw = np.random.default_rng(0)
    own, fitted = draw.normal(2, 1, (40, 6)), draw.normal(2, 1, (90, 6))
    given = own + draw.normal(0, 1, own.shape)
    found = measured(given, own, fitted)
    around = ((own - fitted.mean(0)) ** 2).sum()
    assert value(found, "vector_r2") == pytest.approx(1 - ((given - own) ** 2).sum() / around)
    assert value(found, "vector_cosine") == pytest.approx((unit(given) * unit(own)).sum(1).mean())
    cosines = unit(given) @ unit(own).T
    place = (cosines > np.diag(cosines)[:, None]).sum(1)
    for most in FOUND:
        assert value(found, f"retrieval_r{most}") == pytest.approx((place < most).mean())
    assert value(found, "retrieval_mrr") == pytest.approx((1 / (1 + place)).mean())


def test_the_mean_vector_is_chance_and_the_target_itself_is_the_best_there_is() -> None:
    draw = np.random.default_rng(1)
    own = draw.normal(1, 1, (50, 8))
    found = measured(own, own, draw.normal(1, 1, (30, 8)))
    assert value(found, "vector_r2", "mean") == 0.0
    assert value(found, "retrieval_r1", "mean") == pytest.approx(1 / 50)
    assert value(found, "retrieval_r10", "mean") == pytest.approx(10 / 50)
    harmonic = sum(1 / k for k in range(1, 51)) / 50
    assert value(found, "retrieval_mrr", "mean") == pytest.approx(harmonic)
    for name in ("retrieval_r1", "retrieval_r10", "retrieval_mrr"):
        assert value(found, name, "target") == value(found, name) == 1.0


def test_samples_given_twice_share_their_ranks_and_lower_what_can_be_reached() -> None:
    draw = np.random.default_rng(2)
    own = np.repeat(draw.normal(size=(12, 5)), 2, axis=0) + draw.normal(0, 1e-9, (24, 5))
    found = measured(own, own)
    assert value(found, "retrieval_r1", "target") == value(found, "retrieval_r1") == pytest.approx(0.5)
    assert value(found, "retrieval_mrr", "target") == pytest.approx((1 + 1 / 2) / 2)
    assert ranks(np.zeros((4, 3)), np.ones((4, 3))).found(1) == pytest.approx(np.full(4, 0.25))


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(3)
    given, own = draw.normal(size=(2, 33, 4))
    whole = ranks(given, own)
    monkeypatch.setattr("hf_stitch.evaluation.answer_kinds.vectors.BLOCK", 33 * 5)
    parts = ranks(given, own)
    np.testing.assert_array_equal(whole.nearer, parts.nearer)
    np.testing.assert_array_equal(whole.equal, parts.equal)


def test_groups_search_among_all_samples() -> None:
    draw = np.random.default_rng(4)
    own = draw.normal(size=(20, 4))
    references = References(KIND, own, {"mean": KIND.chance(own, None)})
    found = KIND.measures("m", own[::-1], references, Scope("test", "forward", 0, ["a", "b"] * 10))
    by_split = {m.split: m for m in found if m.name == "retrieval_r10"}
    assert set(by_split) == {"test", "test/a", "test/b"}
    assert by_split["test/a"].n == 10


def test_errors_of_samples_add_up_to_the_share_that_is_missed() -> None:
    draw = np.random.default_rng(5)
    own, given = torch.from_numpy(draw.normal(size=(2, 30, 4)))
    fitted = draw.normal(1, 1, (20, 4))
    for kind, known in ((KIND, None), (KIND.knowing(fitted), fitted)):
        missed = kind.errors(given, own).mean()
        assert 1 - missed == pytest.approx(value(measured(given.numpy(), own.numpy(), known), "vector_r2"))
    assert KIND.errors(given, own[:1].expand(30, -1)).shape == (30,)


def test_profiles_are_only_searched() -> None:
    draw = np.random.default_rng(6)
    own = draw.normal(size=(30, 4))
    profile = draw.normal(size=(30, 9))
    found = measured(own, own, None, relative=Profiles(profile, profile))
    assert value(found, "retrieval_r1", "relative") == 1.0
    assert find(found, "vector_r2", "relative") is None


def test_the_cascade_is_compared_on_the_same_samples() -> None:
    draw = np.random.default_rng(7)
    own = draw.normal(size=(60, 8))
    near, far = own + 0.1 * draw.normal(size=own.shape), own + 2 * draw.normal(size=own.shape)
    found = measured(near, own, None, cascade=far)
    ahead = find(found, "vector_r2_minus_cascade", "m")
    assert ahead is not None
    assert ahead.value == pytest.approx(value(found, "vector_r2") - value(found, "vector_r2", "cascade"))
    assert ahead.low is not None
    assert ahead.low > 0
    first = value(found, "retrieval_r1") - value(found, "retrieval_r1", "cascade")
    assert value(found, "retrieval_r1_minus_cascade") == pytest.approx(first)


def test_mean_activations_are_those_of_each_sample() -> None:
    rows = [torch.randn(n, 3) for n in (4, 1, 6)]
    torch.testing.assert_close(mean_activations(Ragged.pack(rows)), torch.stack([row.mean(0) for row in rows]))


def stitched(explained: float, rows: int, width: int = 48, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors of which a share is explained, as by regression: given and own of the test, own of a fit."""
    draw = np.random.default_rng(seed)
    seen, unseen, fitted = draw.normal(size=(3, rows, width))
    given = math.sqrt(explained) * seen
    return given, given + math.sqrt(1 - explained) * unseen, fitted


@pytest.mark.parametrize("kappa", [0.2, 0.4, 0.6, 0.8, 0.95])
def test_an_r2_is_told_as_the_kappa_of_linear_heads(kappa: float) -> None:
    given, own, _ = stitched(r2_of_kappa(kappa), 4000)
    heads = np.random.default_rng(1).normal(size=(48, 20))
    same = ((given @ heads > 0) == (own @ heads > 0)).mean()
    assert 2 * same - 1 == pytest.approx(kappa, abs=0.02)  # both classes are equally common


def test_the_thresholds_of_r2_are_those_of_classes() -> None:
    assert pytest.approx([0.345, 0.655, 0.905], abs=1e-3) == [VECTORS_FAIR, VECTORS_SURE, VECTORS_HIGH]


VERDICTS: dict[str, tuple[float, int, str, str]] = {
    "nearly all": (0.97, 300, "holds", "The two halves fit: m gives the target's own vectors with an R2 of 0.97"),
    "enough to find": (0.6, 300, "holds-for-search", "train it on the stitched vectors"),
    "found by half": (0.16, 300, "holds-partly", "too few are found"),
    "hardly anything": (0.03, 300, "fails", "too little to be of use"),
    "nothing": (0.0, 300, "no-better-than-constant", "no better than always giving the mean vector"),
    "few pairs of them": (0.3, 40, "holds-partly", "train it on the stitched vectors (R2 below 0.9)"),
    "few samples": (0.97, 8, "too-few-samples", "8 test samples are too few to be sure (among fewer than 50"),
}


@pytest.mark.parametrize(("explained", "rows", "code", "words"), VERDICTS.values(), ids=VERDICTS)
def test_verdicts_on_vectors_of_which_a_known_share_is_explained(
    explained: float, rows: int, code: str, words: str
) -> None:
    given, own, fitted = stitched(explained, rows)
    if explained == 0.0:
        given = np.random.default_rng(9).normal(0, 0.1, own.shape)  # what does not listen
    verdict = judge(measured(given, own, fitted), "m")
    assert verdict.code == code, verdict.text
    assert words in verdict.text
    assert verdict.next.endswith(".")


def test_what_does_better_without_the_targets_half_is_told() -> None:
    given, own, fitted = stitched(0.6, 300)
    better = own + 0.1 * np.random.default_rng(3).normal(size=own.shape)
    worse = given + 2.5 * np.random.default_rng(4).normal(size=own.shape)
    told = judge(measured(worse, own, fitted, ridge=better, cascade=better), "m")
    assert "ridge without the target's half is better" in told.text
    assert "the cascade is better on the same samples" in told.text
    assert "Use the cascade" in told.next
    assert "better on" not in judge(measured(given, own, fitted, ridge=worse, cascade=worse), "m").text


def test_one_sample_or_one_vector_for_all_shows_nothing() -> None:
    given, own, fitted = stitched(0.9, 1)
    assert judge(measured(given, own, fitted), "m").code == "unscaled"
    constant = np.ones((20, 4))
    found = measured(constant, constant, constant)
    assert find(found, "vector_r2", "m") is None
    assert judge(found, "m").code == "not-measured"


def test_a_rival_that_explains_more_is_named() -> None:
    given, own, fitted = stitched(0.6, 300)
    measures = measured(given, own, fitted)
    rival = Measure("vector_r2", "rbf", value=0.93, low=0.92, high=0.94, n=300)
    assert "of the compared methods rbf does clearly better (0.930)." in judge([*measures, rival], "m").text
    least = Measure("vector_r2", "trim", value=0.1, low=0.05, high=0.15, n=300)
    assert "clearly better" not in judge([*measures, least], "m").text
