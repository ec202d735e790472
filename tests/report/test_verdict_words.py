"""What a verdict says: how sure it is, what is always missed, and only advice that can be followed and was not."""

from __future__ import annotations

from typing import Any

import pytest

from hf_stitch.recipe.stitch import METHODS
from hf_stitch.report.catalogue import VERDICTS, verdict_words
from hf_stitch.report.measure import Measure
from hf_stitch.report.verdict.judge import judge

TOO_OFTEN = "otherwise than the target too often"


def measured(name: str, method: str, value: float, low: float, high: float, n: int = 40) -> Measure:
    better = "lower" if "mse" in name else "higher"
    return Measure(name, method, value=value, low=low, high=high, n=n, better=better)  # type: ignore[arg-type]


def classes(kappa: tuple[float, float, float], low: float = 0.85) -> list[Measure]:
    return [
        measured("agreement", "m", 0.95, low, 1.0),
        measured("kappa", "m", *kappa),
        measured("agreement", "majority", 0.5, 0.4, 0.6),
    ]


def texts(*agreement: float) -> list[Measure]:
    return [measured("token_agreement", "m", *agreement), measured("token_agreement", "majority", 0.2, 0.1, 0.3)]


def numbers(*error: float) -> list[Measure]:
    return [measured("output_mse", "m", *error), measured("output_mse", "majority", 1.0, 0.9, 1.1)]


def vectors(*explained: float, found: float = 0.97) -> list[Measure]:
    return [
        measured("vector_r2", "m", *explained, n=100),
        measured("retrieval_r1", "m", found, found - 0.02, found + 0.02, n=100),
        measured("retrieval_r1", "mean", 0.01, 0.0, 0.03, n=100),
    ]


FEW = {
    "all agree": (classes((1.0, 0.55, 1.0)), "kappa is not surely above 0.6"),
    "nearly all agree": (classes((0.85, 0.4, 0.99)), "kappa is not surely above 0.6"),
    "all of four agree": (classes((1.0, -0.1, 1.0)), "chance alone may explain it"),
    "all tokens": (texts(1.0, 0.8, 1.0), "not surely above 0.8 of that"),
    "all tokens of few": (texts(0.9, 0.1, 1.0), "may do as well"),
    "nearly exact": (numbers(0.005, 0.001, 0.02), "up to 2.0 %"),
    "near": (numbers(0.3, 0.01, 1.2), "a constant answer may be as near"),
}


@pytest.mark.parametrize(("measures", "words"), FEW.values(), ids=FEW.keys())
def test_what_few_samples_cannot_show_is_no_fault_of_the_stitch(measures: list[Measure], words: str) -> None:
    verdict = judge(measures, "m")
    assert verdict.code == "too-few-samples"
    assert "40 test samples are too few to be sure (" in verdict.text
    assert words in verdict.text
    assert TOO_OFTEN not in verdict.text
    assert "chance alone explains" not in verdict.text
    assert verdict.next.startswith("Measure it on more samples"), "nothing else can help"


@pytest.mark.parametrize(
    "measures", [classes((0.7, 0.65, 0.75)), classes((0.7, 0.5, 0.8)), texts(0.8, 0.78, 0.82), numbers(0.2, 0.1, 0.3)]
)
def test_what_is_a_fault_stays_one(measures: list[Measure]) -> None:
    verdict = judge(measures, "m")
    assert "too few to be sure" not in verdict.text
    assert verdict.next.startswith("Try ")


SCALE = {
    "The halves fit": [classes((0.95, 0.9, 0.99)), texts(0.97, 0.95, 0.99), numbers(0.004, 0.003, 0.005),
                       vectors(0.95, 0.94, 0.96)],
    "The halves fit in part": [classes((0.7, 0.65, 0.75)), texts(0.8, 0.78, 0.82), numbers(0.2, 0.1, 0.3),
                               vectors(0.6, 0.55, 0.65)],
    "The halves do not fit": [classes((0.2, 0.1, 0.3)), texts(0.4, 0.35, 0.45), numbers(0.7, 0.6, 0.8),
                              vectors(0.2, 0.15, 0.25, found=0.3)],
    "No better than an answer that ignores the input": [
        classes((0.1, -0.1, 0.2), low=0.3), texts(0.2, 0.1, 0.3), numbers(1.1, 0.9, 1.2),
        vectors(-0.1, -0.2, 0.0, found=0.01)
    ],
    "Too few samples to tell": [classes((0.9, 0.3, 1.0)), texts(0.97, 0.6, 1.0), numbers(0.005, 0.001, 0.2),
                                vectors(0.95, 0.4, 0.99)],
}  # fmt: skip


@pytest.mark.parametrize("kind", range(4), ids=["classes", "texts", "numbers", "vectors"])
@pytest.mark.parametrize("headline", SCALE)
def test_the_headline_is_one_scale_for_all_kinds_of_answers(headline: str, kind: int) -> None:
    verdict = judge(SCALE[headline][kind], "m")
    assert verdict_words(verdict.code)[0] == headline
    tones = {verdict_words(judge(measures, "m").code)[1] for measures in SCALE[headline]}
    assert len(tones) == 1
    assert ("too few to be sure" in verdict.text) == headline.startswith("Too few")
    assert ("fit" in verdict.text.split(":")[0]) == (headline == "The halves fit"), "the text does not say otherwise"


def test_codes_of_one_rung_share_a_headline_and_no_other_has_it() -> None:
    rungs: dict[str, set[str]] = {}
    for code, (headline, tone) in VERDICTS.items():
        rungs.setdefault(headline, set()).add(tone)
        assert headline in (*SCALE, "For comparison only", "Measured, but not judged", "Not measured"), code
    assert all(len(tones) == 1 for tones in rungs.values())


@pytest.mark.parametrize("kappa", [(0.95, 0.9, 0.99), (0.7, 0.65, 0.75), (0.45, 0.3, 0.6), (0.1, -0.1, 0.3)])
def test_classes_that_are_always_missed_are_named(kappa: tuple[float, float, float]) -> None:
    told = judge(classes(kappa), "m", missed={"angry": 3, "sad": 1})
    assert told.text.endswith("; never right where the target answers angry (3 samples), sad (1 sample).")
    assert told.code == judge(classes(kappa), "m").code
    assert "never right" not in judge(classes(kappa), "m").text
    many = judge(classes(kappa), "m", missed={str(i): 2 for i in range(40)}).text
    assert many.endswith("4 (2 samples) and 35 more.")


POOR = classes((0.45, 0.3, 0.6))
CASCADE = measured("agreement", "cascade", 0.97, 0.9, 1.0)
FIT: dict[str, Any] = {"dataset": "x", "columns": {"source": "a"}}
DONE = {
    "own landing": ({"stitch": {"landing": "nearest"}}, "landing"),
    "compared landing": ({"compare": ["affine+nearest"]}, "landing"),
    "compared landing of options": ({"compare": [{"name": "x", "stitch": {"landing": "nearest"}}]}, "landing"),
    "compared rule": ({"compare": [{"name": "x", "sequence": {"length": "pool"}}]}, "length rule"),
    "compared ctc": ({"compare": [{"name": "x", "sequence": {"length": "ctc"}}]}, "length: ctc"),
    "at the embedding": ({"target": {"hook": "transformer.word_embedding"}}, "earlier"),
    "at GPT-2's embedding": ({"target": {"hook": "transformer.wte"}}, "earlier"),
    "at T5's embedding": ({"target": {"hook": "shared"}}, "earlier"),
    "all samples in use": ({"data": {"fit": FIT}}, "`data.fit.samples`"),
    "few pairs asked": ({"stitch": {"pairs": 8}}, "`data.fit.samples`"),
}


@pytest.mark.parametrize(("asked", "words"), DONE.values(), ids=DONE.keys())
def test_advice_that_was_followed_or_cannot_be_is_not_given(asked: dict[str, Any], words: str) -> None:
    measures = [*POOR, CASCADE] if "ctc" in words else POOR
    other = {"compare": ["rbf+nearest", {"name": "x", "stitch": {"method": "rbf", "landing": "nearest"}}]}
    for nothing in ({}, other, {"data": {"fit": {**FIT, "samples": 10}}, "target": {"hook": "encoder.layer.3"}}):
        assert words in judge(measures, "m", asked=nothing).next
    assert words not in judge(measures, "m", asked=asked).next
    assert "pairs (" in judge(measures, "m", asked=asked).next


def test_no_length_rule_is_advised_where_lengths_are_equal() -> None:
    assert "length" in judge(POOR, "m").next
    assert "length" not in judge(POOR, "m", lengths_equal=True).next
    assert "length" not in judge(texts(0.3, 0.28, 0.32), "m", lengths_equal=True).next


@pytest.mark.parametrize("method", METHODS)
def test_only_options_of_the_method_are_advised(method: str) -> None:
    told = judge(numbers(0.2, 0.1, 0.3), "m", asked={"stitch": {"method": method}}).next
    named = {word.strip("`,.").removeprefix("stitch.") for word in told.split() if word.startswith("`stitch.")}
    assert named - {"method"} <= set(METHODS[method].option_names())
    assert ("coordinates" in named) == (method == "diffusion")
