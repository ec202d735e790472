"""The verdict on a target that answers with classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hf_stitch.recipe.sequence import facts_of
from hf_stitch.report.measure import Measure
from hf_stitch.report.verdict.evidence import (
    Lookup,
    advice,
    beside,
    company,
    faults_beside,
    in_percent,
    join,
    low,
    middle,
    penalty,
)
from hf_stitch.report.verdict.thresholds import ACCURACY_LOST, KAPPA_FAIR, KAPPA_HIGH, KAPPA_SURE
from hf_stitch.report.verdict.verdict import Verdict

COST, NO_COST = "costs {} points of the target's own accuracy", "costs nothing of the target's own accuracy"
AGAINST = {"majority": "commonest answer", "cascade": "cascade"}


def judge_classes(agreement: Measure, get: Lookup, asked: Mapping[str, Any]) -> Verdict:
    """The verdict from a method's agreement and what else was measured; see `hf_stitch.report.verdict.judge`."""
    method = agreement.method
    kappa, majority = get("kappa", method), get("agreement", "majority")
    if kappa is None and majority is None:
        text = f"{_found(agreement, get)}; that alone shows nothing: neither kappa nor the majority was measured."
        return Verdict("unscaled", text, "Measure kappa and the majority on the same samples.")
    # The lower limit: kappa must surely be above chance, not by luck on these samples.
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
    behind, lost = get("agreement_minus_cascade", method), penalty(get, "accuracy", method)
    text = f"The two halves fit: {_found(agreement, get)}{company(behind, lost, COST, NO_COST)}."
    return Verdict(
        "holds", text, "Try it on data of your own, from another source than the test's, before relying on it."
    )


def _found(agreement: Measure, get: Lookup) -> str:
    """What was found, with everything that agreement must be read against."""
    kappa = get("kappa", agreement.method)
    against = [] if kappa is None else [f"kappa {kappa.written()}"]
    against += beside(get, "agreement", AGAINST)
    of = f" of {agreement.n} test samples" if agreement.n else " of the test samples"
    inside = f" ({', '.join(against)})" if against else ""
    return f"{agreement.method} gives the target's own answer on {in_percent(agreement)}{of}{inside}"


def _faults(agreement: Measure, kappa: Measure, get: Lookup) -> list[str]:
    """Why a stitch that is better than chance does not hold in full."""
    method, faults = agreement.method, []
    if middle(kappa) < KAPPA_HIGH or low(kappa) < KAPPA_SURE:
        scale = f"kappa below {KAPPA_HIGH} or not surely above {KAPPA_SURE}"
        faults.append(f"it answers otherwise than the target too often ({scale})")
    if (common := get("agreement", "majority")) is not None and low(agreement) <= middle(common):
        faults.append("the test is too small to show that it agrees more often than the commonest answer")
    lost = penalty(get, "accuracy", method)
    return faults + faults_beside(get("agreement_minus_cascade", method), lost, ACCURACY_LOST, COST)


def _remedy(get: Lookup, method: str, asked: Mapping[str, Any]) -> str:
    """What to try next: time alignment where a cascade shows that the sequence is understood."""
    cascade, reached = get("agreement", "cascade"), get("agreement", method)
    if facts_of(asked.get("sequence", {})).needs_ctc_head:
        first = "more `sequence.parts`"
    else:
        ctc = "better time alignment (`sequence.length: ctc`)"
        first = "another length rule" if cascade is None else ctc
    better = cascade is not None and reached is not None and middle(cascade) > middle(reached)
    return advice(method, asked, [first], cascade if better else None)
