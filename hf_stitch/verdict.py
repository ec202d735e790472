"""From measures to a verdict: does the stitched model hold, and what should be done next?

Agreement alone never decides. It is weighed against always answering the commonest class, against chance (Cohen's
kappa, with the usual scale of Landis & Koch 1977), against the cascade of the two whole models on the same samples, and
against what the target scores on its own input. Regressions are weighed against a constant answer; of texts see
`hf_stitch.verdict_of_texts`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from hf_stitch.measure import REFERENCES, Measure, find, number
from hf_stitch.verdict_of_texts import weigh_texts
from hf_stitch.weighing import (
    Lookup,
    Verdict,
    appended,
    beside_cascade,
    high,
    join,
    lost_to_cascade,
    low,
    middle,
    percent,
    points,
    span,
)

__all__ = ["CODES", "Verdict", "judge"]

KAPPA_SURE = 0.6  # "substantial": the interval of a stitch that holds lies above
KAPPA_HIGH = 0.8  # "almost perfect": its value does too
KAPPA_FAIR = 0.4  # up to here "slight" or "fair": better than chance, and of no use
PENALTY = 0.05  # accuracy that a stitch that holds may lose against the target's own
UNEXPLAINED = 0.01  # share of the output's variance that a regression that holds may miss
UNEXPLAINED_PARTLY = 0.5

SHARES = ("agreement", "token_agreement")  # more is better; of the other measures that decide less is

CODES = (
    "comparison-only",
    "holds",
    "holds-partly",
    "fails",
    "no-better-than-majority",
    "regression-holds",
    "regression-holds-partly",
    "regression-fails",
    "no-better-than-constant",
    "unscaled",
    "not-measured",
)
"""Every code that a verdict may have."""


def judge(
    measures: Iterable[Measure],
    method: str,
    split: str = "test",
    direction: str = "forward",
    asked: Mapping[str, Any] | None = None,
    rivals: Collection[str] | None = None,
) -> Verdict:
    """The verdict on one method, from the measures of one split; see `CODES`.

    Args:
        asked: the recipe as plain data; advice that it already follows is then left out.
        rivals: methods that answer the same question, from the same source to the same target on the same data; absent:
            all that were measured.
    """
    measures, sequence = list(measures), (asked or {}).get("sequence", {})

    def get(name: str, of: str) -> Measure | None:
        found = find(measures, name, of, split, direction)
        return found if found is not None and found.value is not None else None

    for name, weigh in (("agreement", _classes), ("output_mse", _regression), ("token_agreement", weigh_texts)):
        if (found := get(name, method)) is not None:
            rival = _rival(found, [m for m in measures if rivals is None or m.method in rivals])
            verdict = weigh(found, get, asked or {})
            verdict = verdict if rival is None else _with_rival(verdict, rival)
            return _for_comparison(verdict) if sequence.get("target_length") == "oracle" else verdict
    text = f"Nothing is known of {method}: neither agreement nor an output error was measured on {split}."
    advice = "Give the recipe a `data.test` part, or run `hf-stitch evaluate DIR dataset=FILE` with data of your own."
    return Verdict("not-measured", text, advice)


def _for_comparison(verdict: Verdict) -> Verdict:
    told = "it was told the true target lengths, which nobody knows at run time"
    advice = "Set `sequence.target_length` to ratio, predicted or constant for a model that predicts."
    return Verdict("comparison-only", f"For comparison only, since {told}: {verdict.text}", advice)


def _rival(own: Measure, measures: list[Measure]) -> Measure | None:
    """The best compared method whose interval lies wholly on the better side; none that was given the truth."""
    same = [
        m
        for m in measures
        if (m.name, m.split, m.direction) == (own.name, own.split, own.direction)
        and m.method not in (own.method, *REFERENCES)
        and m.value is not None
        and "@oracle" not in m.method
    ]
    if own.name in SHARES:
        return max((m for m in same if low(m) > high(own)), key=middle, default=None)
    return min((m for m in same if high(m) < low(own)), key=middle, default=None)


def _with_rival(verdict: Verdict, rival: Measure) -> Verdict:
    value = percent(rival.value) if rival.name in SHARES else rival.write(rival.value)
    text = f"{verdict.text.removesuffix('.')}; of the compared methods {rival.method} does clearly better ({value})."
    return Verdict(verdict.code, text, f"Consider {rival.method}, choosing on validation. {verdict.next}")


def _classes(agreement: Measure, get: Lookup, asked: Mapping[str, Any]) -> Verdict:
    method = agreement.method
    kappa, majority = get("kappa", method), get("agreement", "majority")
    if kappa is None and majority is None:
        text = f"{_found(agreement, get)}; that alone shows nothing: neither kappa nor the majority was measured."
        return Verdict("unscaled", text, "Measure kappa and the majority on the same samples.")
    chance = kappa is not None and low(kappa) <= 0.0
    common = majority is not None and middle(agreement) <= middle(majority)
    if chance or common:
        why = "which is no better than always giving its commonest answer" if common else "which chance alone explains"
        return Verdict("no-better-than-majority", f"{_found(agreement, get)}, {why}.", _remedy(get, method, asked))
    if kappa is None:
        text = f"{_found(agreement, get)}, which beats the commonest answer, but kappa was not measured."
        return Verdict("unscaled", text, "Measure kappa on the same samples.")
    if middle(kappa) < KAPPA_FAIR:
        text = f"{_found(agreement, get)}, which is better than chance, but too little to be of use."
        return Verdict("fails", text, _remedy(get, method, asked))
    faults = _faults(agreement, kappa, get)
    if faults:
        text = f"{_found(agreement, get)}, which is better than chance, but {join(faults)}."
        return Verdict("holds-partly", text, _remedy(get, method, asked))
    text = f"The two halves fit: {_found(agreement, get)}{_company(get, method)}."
    return Verdict(
        "holds", text, "Try it on data of your own, from another source than the test's, before relying on it."
    )


def _found(agreement: Measure, get: Lookup) -> str:
    """What was found, with everything that agreement must be read against."""
    against = []
    if (kappa := get("kappa", agreement.method)) is not None:
        against.append(f"kappa {kappa.write(kappa.value)}{span(kappa)}")
    if (majority := get("agreement", "majority")) is not None:
        against.append(f"commonest answer {percent(majority.value)}")
    if (cascade := get("agreement", "cascade")) is not None:
        against.append(f"cascade {percent(cascade.value)}")
    of = f" of {agreement.n} test samples" if agreement.n else " of the test samples"
    inside = f" ({', '.join(against)})" if against else ""
    share = f"{percent(agreement.value)}{span(agreement, percent)}"
    return f"{agreement.method} gives the target's own answer on {share}{of}{inside}"


def _faults(agreement: Measure, kappa: Measure, get: Lookup) -> list[str]:
    """Why a stitch that is better than chance does not hold in full."""
    method, faults = agreement.method, []
    if middle(kappa) < KAPPA_HIGH or low(kappa) < KAPPA_SURE:
        scale = f"kappa below {KAPPA_HIGH} or not surely above {KAPPA_SURE}"
        faults.append(f"it answers otherwise than the target too often ({scale})")
    if (common := get("agreement", "majority")) is not None and low(agreement) <= middle(common):
        faults.append("the test is too small to show that it agrees more often than the commonest answer")
    faults += lost_to_cascade(get("agreement_minus_cascade", method))
    penalty = _penalty(get, method)
    if penalty is not None and penalty > PENALTY:
        faults.append(f"stitching costs {points(penalty)} points of the target's own accuracy")
    return faults


def _company(get: Lookup, method: str) -> str:
    """How a stitch that holds stands to the cascade and to the target's own score."""
    parts = beside_cascade(get("agreement_minus_cascade", method))
    penalty = _penalty(get, method)
    if penalty is not None:
        cost = f"costs {points(penalty)} points" if penalty > 0 else "costs nothing"
        parts.append(f"stitching {cost} of the target's own accuracy")
    return appended(parts)


def _penalty(get: Lookup, method: str) -> float | None:
    """Stitching penalty: the target's own accuracy minus the stitched model's."""
    own, stitched = get("accuracy", "target"), get("accuracy", method)
    return None if own is None or stitched is None else middle(own) - middle(stitched)


def _remedy(get: Lookup, method: str, asked: Mapping[str, Any]) -> str:
    """What to try next, without what the recipe does already."""
    cascade, reached = get("agreement", "cascade"), get("agreement", method)
    sequence, stitch = asked.get("sequence", {}), asked.get("stitch", {})
    tries = ["more pairs (`data.fit.samples`)"]
    if sequence.get("length") == "ctc":
        tries.append("more `sequence.parts`")
    elif cascade is not None:
        tries.append("better time alignment (`sequence.length: ctc`)")
    else:
        tries.append("another length rule")
    if stitch.get("landing") != "nearest" and not method.endswith("+nearest"):
        tries.append("`stitch.landing: nearest`")
    if "embedding" not in str(asked.get("target", {}).get("hook")):
        tries.append("an earlier target hook")
    advice = f"Try {', '.join(tries[:-1])}, or {tries[-1]}."
    if cascade is not None and reached is not None and middle(cascade) > middle(reached):
        return f"Use the cascade ({percent(cascade.value)}). {advice}"
    return advice


def _regression(error: Measure, get: Lookup, asked: Mapping[str, Any]) -> Verdict:
    method = error.method
    constant = get("output_mse", "majority")
    found = f"{method} gives the target's own output up to a squared error of {error.write(error.value)}{span(error)}"
    if (inside := get("map_mse", method)) is not None:
        found += f" (between the maps {number(inside.value)})"
    if constant is None or middle(constant) <= 0.0:
        text = f"{found}; nothing was measured to compare this with."
        return Verdict("unscaled", text, "Measure the error of a constant answer on the same samples.")
    missed, most = middle(error) / middle(constant), high(error) / middle(constant)
    found += f"; a constant answer has {number(constant.value)}"
    more = "Try more `coordinates`, more neighbours, more pairs, or the other `inverse`."
    if most >= 1.0:
        return Verdict("no-better-than-constant", f"{found}: no better than a constant answer.", more)
    if missed > UNEXPLAINED_PARTLY:
        return Verdict("regression-fails", f"{found}: most of the target's output is missed.", more)
    if most > UNEXPLAINED:
        return Verdict("regression-holds-partly", f"{found}: {percent(missed)} of its variance is missed.", more)
    text = f"The two halves fit: {found}."
    return Verdict("regression-holds", text, "Try points outside the sampled region before relying on it there.")
