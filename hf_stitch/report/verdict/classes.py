"""The verdict on a target that answers with classes."""

from __future__ import annotations

from hf_stitch.recipe.sequence import facts_of
from hf_stitch.report.measure import Measure
from hf_stitch.report.verdict.evidence import (
    MORE_TESTS,
    OWN_DATA,
    TOO_FEW,
    Asked,
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
    unsure,
)
from hf_stitch.report.verdict.thresholds import ACCURACY_LOST, KAPPA_FAIR, KAPPA_HIGH, KAPPA_SURE
from hf_stitch.report.verdict.verdict import Verdict

COST, NO_COST = "costs {} points of the target's own accuracy", "costs nothing of the target's own accuracy"
AGAINST = {"majority": "commonest answer", "cascade": "cascade"}


def judge_classes(agreement: Measure, get: Lookup, asked: Asked) -> Verdict:
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
        if common or kappa is None or middle(kappa) < KAPPA_FAIR:
            why = "no better than always giving its commonest answer" if common else "what chance alone explains"
            text = f"{_found(agreement, get)}, which is {why}."
            return Verdict("no-better-than-majority", text, _remedy(get, method, asked))
        text = f"{_found(agreement, get)}, but {unsure(agreement, 'chance alone may explain it')}."
        return Verdict(TOO_FEW, text, MORE_TESTS)
    if kappa is None:
        text = f"{_found(agreement, get)}, which beats the commonest answer, but kappa was not measured."
        return Verdict("unscaled", text, "Measure kappa on the same samples.")
    if middle(kappa) < KAPPA_FAIR:
        text = f"{_found(agreement, get)}, which is better than chance, but too little to be of use."
        return Verdict("fails", text, _remedy(get, method, asked))
    faults, doubts = _faults(agreement, kappa, get), _doubts(agreement, kappa, get)
    if faults or doubts:
        text = f"{_found(agreement, get)}, which is better than chance, but {join(faults + doubts)}."
        return (
            Verdict("holds-partly", text, _remedy(get, method, asked)) if faults else Verdict(TOO_FEW, text, MORE_TESTS)
        )
    behind, lost = get("agreement_minus_cascade", method), penalty(get, "accuracy", method)
    text = f"The two halves fit: {_found(agreement, get)}{company(behind, lost, COST, NO_COST)}."
    return Verdict("holds", text, OWN_DATA)


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
    if middle(kappa) < KAPPA_HIGH:
        faults.append(f"it answers otherwise than the target too often (kappa below {KAPPA_HIGH})")
    lost = penalty(get, "accuracy", method)
    return faults + faults_beside(get("agreement_minus_cascade", method), lost, ACCURACY_LOST, COST)


def _doubts(agreement: Measure, kappa: Measure, get: Lookup) -> list[str]:
    """What more samples would have to show: the interval reaches too low, not the value."""
    doubts = []
    if middle(kappa) >= KAPPA_HIGH and low(kappa) < KAPPA_SURE:
        doubts.append(unsure(agreement, f"kappa is not surely above {KAPPA_SURE}"))
    if (common := get("agreement", "majority")) is not None and low(agreement) <= middle(common):
        doubts.append("the test is too small to show that it agrees more often than the commonest answer")
    return doubts


def _remedy(get: Lookup, method: str, asked: Asked) -> str:
    """What to try next: time alignment where a cascade shows that the sequence is understood."""
    cascade, reached = get("agreement", "cascade"), get("agreement", method)
    if facts_of(asked.recipe.get("sequence", {})).needs_ctc_head:
        first = ["more `sequence.parts`"]
    else:
        first = asked.length_rules(*([] if cascade is None else ["ctc"]))
    better = cascade is not None and reached is not None and middle(cascade) > middle(reached)
    return advice(method, asked, first, cascade if better else None)
