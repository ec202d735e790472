"""Next tokens: what is measured of positions, how texts are resampled, and the verdict, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hf_stitch.activations.next_tokens import COLUMNS, beside_own, few, truth_of
from hf_stitch.activations.ragged import Ragged
from hf_stitch.evaluation.answer_kinds.base import References, Scope
from hf_stitch.evaluation.answer_kinds.next_tokens import NextTokens
from hf_stitch.report.measure import Measure, find
from hf_stitch.report.verdict.judge import judge

SCOPE = Scope("test", "forward", 0)
KIND = NextTokens()


def answers(lengths: list[int], **columns: np.ndarray | float) -> Ragged:
    """Positions that all count, with these numbers, of texts so long."""
    rows = np.zeros((sum(lengths), len(COLUMNS)))
    rows[:, COLUMNS.index("counts")] = 1
    for name, values in columns.items():
        rows[:, COLUMNS.index(name)] = values
    return Ragged(torch.from_numpy(rows), torch.tensor(lengths))


def measured(given: Ragged, method: str = "m") -> list[Measure]:
    return KIND.measures(method, KIND.read(given), References(KIND, KIND.read(given)), SCOPE)


def test_numbers_are_means_over_positions_and_perplexity_their_exponential() -> None:
    losses = np.array([1.0, 2.0, 3.0, 10.0])
    found = measured(answers([3, 1], loss=losses, own_loss=losses - 0.5, kl=losses / 10, best=1, own_best=[1, 1, 0, 0]))
    known = {m.name: m.value for m in found}
    assert known["loss"] == 4.0
    assert known["perplexity"] == pytest.approx(np.exp(4.0))
    assert known["loss_difference"] == 0.5
    assert known["next_token_kl"] == pytest.approx(0.4)
    assert known["next_token_agreement"] == 0.5
    assert {m.n for m in found} == {2}


def test_texts_are_resampled_whole() -> None:
    """Of positions that are alike within a text, the interval is that of the texts, however long they are."""
    draw = np.random.default_rng(0)
    level = draw.normal(3, 1, 40)
    one, many = (find(measured(answers([n] * 40, loss=np.repeat(level, n))), "loss", "m") for n in (1, 50))
    assert one is not None
    assert many is not None
    assert (one.low, one.high) == pytest.approx((many.low, many.high))
    assert many.high - many.low == pytest.approx(2 * 1.96 * level.std() / np.sqrt(40), rel=0.15)


def test_positions_that_all_agree_leave_a_width() -> None:
    found = find(measured(answers([5] * 12, best=2, own_best=2)), "next_token_agreement", "m")
    assert found is not None
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(12 / (12 + 1.96**2), abs=1e-3)  # Wilson's, of the texts


def test_what_is_not_known_is_not_told() -> None:
    own = answers([4, 4], own_best=[3, 3, 5, 3, 3, 5, 3, 3], best=[3, 3, 5, 3, 3, 5, 3, 3], loss=1.0, own_loss=1.0)
    constant = KIND.chance(KIND.read(own), None)
    assert constant is not None
    found = KIND.reference_measures(References(KIND, KIND.read(own), {"majority": constant}), SCOPE)
    agreement = find(found, "next_token_agreement", "majority")
    assert agreement is not None
    assert agreement.value == 0.75
    assert {m.name for m in found if m.method == "majority"} == {"next_token_agreement", "next_token_accuracy"}
    assert {m.name for m in found if m.method == "target"} == {"loss", "perplexity", "next_token_accuracy"}


def test_errors_are_divergences_of_texts() -> None:
    given = answers([2, 1, 0], kl=np.array([0.1, 0.3, 2.0]))
    assert KIND.errors(given, given).tolist() == pytest.approx([0.2, 2.0, 0.0])


def test_few_texts_run_at_once_and_say_the_same() -> None:
    assert [list(rows) for rows in few(5, 1000, 50_000)] == [[0], [1], [2], [3], [4]]
    assert [list(rows) for rows in few(5, 10, 100)] == [[0, 1, 2, 3, 4]]
    head = torch.randn(6, 9, generator=torch.Generator().manual_seed(0))
    ran = []

    def run(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        ran.append(len(values))
        return values @ head

    own, other = torch.randn(2, 3, 4, 6)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [0, 1, 1, 1]]).bool()
    known = [truth_of(torch.tensor(row), {0}) for row in ([0, 5, 6, 7], [5, 6, 7], [1, 2, 3])]
    found = beside_own(run, {"own": own, "other": other}, own, mask, known, 9)
    assert ran == [3, 3, 3]
    large = beside_own(run, {"own": own, "other": other}, own, mask, known, 10**9)
    assert ran[3:] == [1] * 9
    for name in found:
        for one, two in zip(found[name], large[name]):
            torch.testing.assert_close(one, two)
    place = COLUMNS.index("kl")
    assert all(bool((rows[:, place] == 0).all()) for rows in found["own"])
    shares = (other[1, :2] @ head).log_softmax(-1), (own[1, :2] @ head).log_softmax(-1)
    wanted = (shares[1].exp() * (shares[1] - shares[0])).sum(-1)
    torch.testing.assert_close(found["other"][1][:2, place].float(), wanted)
    assert found["other"][1][2, place] == 0  # nobody knows what comes behind the last


def told(agreement: float, kl: float, *, half: float = 0.01, lost: float = 0.0, **controls: float) -> list[Measure]:
    """Measures of a method beside a commonest token of 30 %, and a mean activation that diverges by 2 nats."""

    def one(name: str, value: float, method: str = "m") -> Measure:
        better = "higher" if name.endswith("agreement") else "lower"
        return Measure(name, method, value=value, low=value - half, high=value + half, n=50, better=better)

    found = [one("next_token_agreement", agreement), one("next_token_kl", kl), one("loss_difference", lost)]
    found += [one("next_token_agreement", 0.3, "majority"), one("next_token_kl", 2.0, "mean")]
    return found + [one("next_token_kl", value, name.replace("_", "-")) for name, value in controls.items()]


VERDICTS = {
    "nearly all": (told(0.97, 0.05), "holds", "The two halves fit: m foretells the target's own next token at 97.0 %"),
    "too often otherwise": (told(0.8, 0.3), "holds-partly", "foretells other tokens than the target too often"),
    "at a cost": (told(0.97, 0.05, lost=0.25), "holds-partly", "adds 0.250 nats to the loss"),
    "a map that does harm": (told(0.9, 0.3, identity=0.1), "holds-partly", "better without the map"),
    "hardly anything": (told(0.5, 1.0), "fails", "too little to be of use"),
    "nothing": (told(0.3, 1.9), "no-better-than-constant", "do not know the text"),
    "worse than the mean": (told(0.6, 2.4), "no-better-than-constant", "do not know the text"),
    "few samples": (told(0.97, 0.05, half=0.4), "too-few-samples", "kappa is not surely above 0.6"),
    "hardly any": (told(0.7, 0.05, half=0.45), "too-few-samples", "the same token may do as well"),
}


@pytest.mark.parametrize(("measures", "code", "words"), VERDICTS.values(), ids=VERDICTS)
def test_verdicts(measures: list[Measure], code: str, words: str) -> None:
    verdict = judge(measures, "m")
    assert verdict.code == code, verdict.text
    assert words in verdict.text
    assert verdict.next.endswith(".")


def test_a_rival_that_diverges_less_is_named() -> None:
    rival = Measure("next_token_kl", "rbf", value=0.01, low=0.009, high=0.011, n=50, better="lower")
    assert "of the compared methods rbf does clearly better (0.0100)." in judge([*told(0.97, 0.05), rival], "m").text


def test_without_controls_or_variety_nothing_is_judged() -> None:
    alone = [m for m in told(0.97, 0.05) if m.method == "m"]
    assert judge(alone, "m").code == "unscaled"
    same = [Measure("next_token_agreement", "majority", value=1.0, low=0.9, high=1.0, n=50)]
    assert "the same token everywhere" in judge([*alone, *same], "m").text
