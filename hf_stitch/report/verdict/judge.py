"""From measures to a verdict: does the stitched model hold, and what should be done next?

Agreement alone never decides. It is weighed against always answering the commonest class, against chance (Cohen's
kappa, with the usual scale of Landis & Koch 1977), against the cascade of the two whole models on the same samples, and
against what the target scores on its own input. Regressions are weighed against a constant answer; of texts see
`hf_stitch.report.verdict.texts`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from hf_stitch.report import catalogue
from hf_stitch.report.measure import Measure, find
from hf_stitch.report.verdict.classes import judge_classes
from hf_stitch.report.verdict.evidence import (
    Asked,
    Lookup,
    high,
    low,
    middle,
    percent,
)
from hf_stitch.report.verdict.next_tokens import judge_next_tokens
from hf_stitch.report.verdict.numbers import judge_numbers
from hf_stitch.report.verdict.texts import judge_texts
from hf_stitch.report.verdict.vectors import judge_vectors
from hf_stitch.report.verdict.verdict import Verdict

Judge = Callable[[Measure, Lookup, Asked], Verdict]
"""From the measure that decides, the others, and what was asked."""

NAMED = 5  # classes that are told by name; by hand

JUDGES: dict[catalogue.Kind, Judge] = {
    "classes": judge_classes,
    "numbers": judge_numbers,
    "texts": judge_texts,
    "vectors": judge_vectors,
    "next_tokens": judge_next_tokens,
}
"""By kind of answers; a method with answers of several kinds is judged by the first."""


def judge(
    measures: Iterable[Measure],
    method: str,
    split: str = "test",
    direction: str = "forward",
    asked: Mapping[str, Any] | None = None,
    rivals: Collection[str] | None = None,
    lengths_equal: bool = False,
    missed: Mapping[str, int] | None = None,
) -> Verdict:
    """The verdict on one method, from the measures of one split; see `catalogue.VERDICTS` for its codes.

    Args:
        asked: the recipe as plain data; advice that it already follows is then left out.
        rivals: methods that answer the same question, from the same source to the same target on the same data; absent:
            all that were measured.
        lengths_equal, missed: see `Asked`.
    """
    measures, sequence = list(measures), (asked or {}).get("sequence", {})
    known = Asked(asked or {}, lengths_equal, missed or {})

    def get(name: str, of: str) -> Measure | None:
        found = find(measures, name, of, split, direction)
        return found if found is not None and found.value is not None else None

    for kind, weigh in JUDGES.items():
        if (found := get(catalogue.DECIDING[kind], method)) is not None:
            rival = _rival(found, [m for m in measures if rivals is None or m.method in rivals])
            verdict = weigh(found, get, known)
            verdict = _with_missed(verdict, known.missed)
            verdict = verdict if rival is None else _with_rival(verdict, rival)
            return _for_comparison(verdict) if sequence.get("target_length") == "oracle" else verdict
    text = f"Nothing is known of {method}: neither agreement nor an output error was measured on {split}."
    advice = "Give the recipe a `data.test` part, or run `hf-stitch evaluate DIR dataset=FILE` with data of your own."
    return Verdict("not-measured", text, advice)


def _for_comparison(verdict: Verdict) -> Verdict:
    told = "it was told the true target lengths, which nobody knows at run time"
    advice = "Set `sequence.target_length` to ratio, predicted or constant for a model that predicts."
    return Verdict("comparison-only", f"For comparison only, since {told}: {verdict.text}", advice)


def _with_missed(verdict: Verdict, missed: Mapping[str, int]) -> Verdict:
    """A verdict that names the classes which are never right: a share of all samples does not show them."""
    if not missed:
        return verdict
    named = [f"{name} ({count} sample{'s' * (count != 1)})" for name, count in missed.items()][:NAMED]
    rest = f" and {len(missed) - NAMED} more" if len(missed) > NAMED else ""
    text = f"{verdict.text.removesuffix('.')}; never right where the target answers {', '.join(named)}{rest}."
    return Verdict(verdict.code, text, verdict.next)


def _rival(own: Measure, measures: list[Measure]) -> Measure | None:
    """The best compared method whose interval lies wholly on the better side; none that was given the truth."""
    same = [
        m
        for m in measures
        if (m.name, m.split, m.direction) == (own.name, own.split, own.direction)
        and m.method not in (own.method, *catalogue.REFERENCES)
        and m.value is not None
        and m.range is None  # of several methods
        and "@oracle" not in m.method
    ]
    # Intervals wholly apart: of many compared methods the best looks better by chance.
    if catalogue.MEASURES[own.name].scale != "error":  # of the measures that decide, less is better of errors alone
        return max((m for m in same if low(m) > high(own)), key=middle, default=None)
    return min((m for m in same if high(m) < low(own)), key=middle, default=None)


def _with_rival(verdict: Verdict, rival: Measure) -> Verdict:
    share = catalogue.MEASURES[rival.name].scale == "share"
    value = percent(rival.value) if share else rival.write(rival.value)
    text = f"{verdict.text.removesuffix('.')}; of the compared methods {rival.method} does clearly better ({value})."
    return Verdict(verdict.code, text, f"Consider {rival.method}, choosing on validation. {verdict.next}")
