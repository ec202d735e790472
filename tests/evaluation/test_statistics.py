"""Statistics: laws, closed forms, coverage, and the edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from hf_stitch.errors import DataError
from hf_stitch.evaluation.statistics import activations, classes, intervals

RNG = np.random.default_rng(3)
TRUTH = RNG.integers(0, 3, 400)
NOISY = np.where(RNG.random(400) < 0.8, TRUTH, RNG.integers(0, 3, 400))


def test_perfect_agreement_is_one_and_its_interval_has_width() -> None:
    for compute in (classes.agreement, classes.balanced_accuracy, classes.kappa):
        found = compute(TRUTH, TRUTH)
        assert found.value == 1.0
        assert found.high == 1.0
        assert found.low is not None
        assert 0.97 < found.low < 1.0


def test_complete_disagreement_is_zero_with_width() -> None:
    found = classes.balanced_accuracy([1, 0] * 10, [0, 1] * 10)
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high is not None
    assert found.high > 0.1
    assert classes.kappa([1, 0] * 10, [0, 1] * 10).value == -1.0


def test_shuffled_labels_have_no_kappa() -> None:
    found = classes.kappa(np.random.default_rng(0).permutation(TRUTH), TRUTH)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0 < found.high
    assert abs(found.value) < 0.1


def test_majority_predictor_has_kappa_zero_and_chance_balanced_accuracy() -> None:
    truth = [0] * 93 + [1] * 7
    constant = [0] * 100
    assert classes.agreement(constant, truth).value == classes.majority(truth).value == 0.93
    assert classes.kappa(constant, truth) == intervals.Interval(0.0, 0.0, 0.0, 100)
    assert classes.balanced_accuracy(constant, truth).value == 0.5


def test_kappa_of_a_textbook_table() -> None:
    # Cohen's formula by hand: observed 35/50, expected (25 * 30 + 25 * 20) / 2500 = 0.5
    predictions = [1] * 20 + [0] * 5 + [1] * 10 + [0] * 15
    references = [1] * 25 + [0] * 25
    assert classes.kappa(predictions, references).value == pytest.approx(0.4)


def test_multinomial_over_cells_is_the_bootstrap_over_samples() -> None:
    """The shortcut gives the interval of the plain way, up to the noise of 2000 resamples."""
    right = (NOISY == TRUTH).astype(float)
    plain = intervals.bootstrap(np.mean, right)
    rng = np.random.default_rng(1)
    draws = [rng.integers(0, 400, 400) for _ in range(600)]
    slow = [classes.kappa(NOISY[d], TRUTH[d]).value for d in draws]
    fast = classes.kappa(NOISY, TRUTH)
    assert [fast.low, fast.high] == pytest.approx(np.quantile(slow, [0.025, 0.975]).tolist(), abs=0.02)
    assert [plain.low, plain.high] == pytest.approx(
        [classes.agreement(NOISY, TRUTH).low, classes.agreement(NOISY, TRUTH).high], abs=0.02
    )


def test_bootstrap_covers() -> None:
    """About 95 of 100 intervals of a mean contain the true mean; so do those of kappa and of paired differences."""
    rng = np.random.default_rng(5)
    hits = {"mean": 0, "kappa": 0, "difference": 0}
    runs = 200
    for _ in range(runs):
        found = intervals.mean(rng.exponential(1.0, 120))
        hits["mean"] += found.low <= 1.0 <= found.high  # type: ignore[operator]
        truth = rng.integers(0, 2, 150)
        first = np.where(rng.random(150) < 0.9, truth, 1 - truth)
        second = np.where(rng.random(150) < 0.95, truth, 1 - truth)
        found = classes.kappa(first, truth)
        hits["kappa"] += found.low <= 0.8 <= found.high  # type: ignore[operator]
        found = classes.compare(first, second, truth).difference
        hits["difference"] += found.low <= -0.05 <= found.high  # type: ignore[operator]
    assert {name: 0.89 <= count / runs <= 0.995 for name, count in hits.items()} == dict.fromkeys(hits, True), hits


@pytest.mark.parametrize("n", [5, 7, 128])
@pytest.mark.parametrize("share", [0.5, 0.95])
def test_quantiles_are_resampled_with_their_samples(n: int, share: float) -> None:
    values = np.random.default_rng(n).lognormal(size=n).round(1)
    places = np.random.default_rng(4).integers(0, len(values), (2000, len(values)))
    low, high = np.quantile(np.quantile(values[places], share, axis=1), [0.025, 0.975])
    found = intervals.quantile(values, share, seed=4)
    assert (found.value, found.low, found.high, found.n) == (np.quantile(values, share), low, high, n)
    assert found.low <= found.value <= found.high
    assert intervals.quantile(np.ones(n), share) == intervals.Interval(1, 1, 1, n)


def test_everything_is_deterministic_and_seeded() -> None:
    assert classes.kappa(NOISY, TRUTH, seed=1) == classes.kappa(NOISY, TRUTH, seed=1)
    assert classes.kappa(NOISY, TRUTH, seed=1) != classes.kappa(NOISY, TRUTH, seed=2)
    assert intervals.mean(RNG.random(1) * np.arange(9.0)) != intervals.mean(np.arange(9.0) + 1)


def test_wilson_is_scipys_and_stays_inside() -> None:
    found = intervals.wilson(9, 10)
    z = stats.norm.ppf(0.975)
    centre, half = (0.9 + z**2 / 20) / (1 + z**2 / 10), z * math.sqrt(0.009 + z**2 / 400) / (1 + z**2 / 10)
    assert [found.low, found.high] == pytest.approx([centre - half, centre + half])
    assert intervals.wilson(0, 1).low == 0.0
    assert intervals.wilson(1, 1).high == pytest.approx(1.0)


def test_compare_is_mcnemar_and_antisymmetric() -> None:
    truth = np.zeros(100, int)
    first, second = truth.copy(), truth.copy()
    first[:3] = 1
    second[3:15] = 1
    found, back = classes.compare(first, second, truth), classes.compare(second, first, truth)
    assert (found.only_first, found.only_second) == (12, 3)
    assert found.difference.value == pytest.approx(0.09) == -back.difference.value
    assert found.p_value == pytest.approx(stats.binomtest(3, 15).pvalue) == pytest.approx(back.p_value)
    assert found.difference.low is not None
    assert found.difference.low > 0


def test_identical_predictors_differ_by_nothing_but_not_surely() -> None:
    found = classes.compare(NOISY, NOISY, TRUTH)
    assert (found.difference.value, found.p_value) == (0.0, 1.0)
    assert found.difference.low is not None
    assert found.difference.high is not None
    assert found.difference.low < 0 < found.difference.high


def test_strings_and_unseen_labels_are_labels_too() -> None:
    assert classes.agreement(["good", "bad", "?"], ["good", "bad", "bad"]).value == pytest.approx(2 / 3)
    assert classes.balanced_accuracy(["a", "b", "c"], ["a", "b", "b"]).value == pytest.approx(0.75)


def test_results_are_python_numbers() -> None:
    found = classes.kappa(NOISY, TRUTH)
    assert {type(end) for end in (found.value, found.low, found.high)} == {float}
    assert type(found.n) is int


def test_one_class_says_nothing() -> None:
    assert classes.kappa([1] * 50, [1] * 50) == intervals.Interval(0.0, -1.0, 1.0, 50)
    assert classes.balanced_accuracy([1] * 50, [1] * 50).value == 1.0


def test_one_sample_says_nothing_about_scatter() -> None:
    assert intervals.mean([3.0]) == intervals.Interval(3.0, None, None, 1)
    assert classes.kappa([1], [1]) == intervals.Interval(0.0, -1.0, 1.0, 1)
    found = classes.agreement([1], [1])
    assert found.low is not None
    assert found.low < 0.25
    assert intervals.bootstrap(np.mean, [0.5], bounds=(0.0, 1.0)) == intervals.Interval(0.5, 0.0, 1.0, 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: classes.agreement([], []), "received none"),
        (lambda: classes.majority([]), "received none"),
        (lambda: intervals.mean([]), "received none"),
        (lambda: classes.kappa([1], [1, 0]), "lengths"),
        (lambda: classes.compare([1], [1], [1, 0]), "lengths"),
        (lambda: intervals.ratio([1.0], [1.0, 2.0]), "lengths"),
        (lambda: intervals.mean([1.0, math.nan]), "finite"),
        (lambda: intervals.ratio([1.0, 2.0], [0.0, 0.0]), "finite"),
        (lambda: intervals.wilson(3, 2), "between 0 and 2"),
        (lambda: activations.r_squared(np.ones((3, 2)), np.ones((3, 2))), "different reference rows"),
        (lambda: activations.cosine(np.ones((3, 2)), np.ones((2, 2))), "same shape"),
        (lambda: activations.cosine(np.ones((0, 2)), np.ones((0, 2))), "received none"),
    ],
)
def test_what_cannot_be_computed_is_an_error(call, message: str) -> None:
    with pytest.raises(DataError, match=message):
        call()


def test_fit_of_activations_in_closed_form() -> None:
    true = RNG.normal(size=(60, 4)) + 1.0
    assert activations.r_squared(true, true).value == 1.0
    assert activations.relative_error(true, true).value == 0.0
    assert activations.cosine(2 * true, true).value == pytest.approx(1.0)
    assert activations.r_squared(np.tile(true.mean(0), (60, 1)), true).value == pytest.approx(0.0)
    assert activations.relative_error(np.zeros_like(true), true).value == 1.0
    assert activations.cosine(np.zeros_like(true), true).value == 0.0
    found = activations.relative_error(true + 0.1, true)
    assert found.value == pytest.approx(0.1 * math.sqrt(240) / np.linalg.norm(true))
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high


def test_rows_of_one_sample_are_resampled_together() -> None:
    """Copies of a row add no evidence: the interval of 20 samples stays; 200 'independent' rows claim too much."""
    true = RNG.normal(size=(20, 3))
    noisy = true + RNG.normal(size=(20, 3)) * np.linspace(0.1, 1, 20)[:, None]
    copies, groups = np.repeat(np.arange(20), 10), np.repeat(np.arange(20), 10)
    once = activations.r_squared(noisy, true)
    grouped = activations.r_squared(noisy[copies], true[copies], groups)
    naive = activations.r_squared(noisy[copies], true[copies])
    assert (grouped.value, grouped.low, grouped.n) == pytest.approx((once.value, once.low, 20))
    assert naive.low is not None
    assert grouped.low is not None
    assert naive.low > grouped.low
