"""The verdict on a target that answers with classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hf_stitch.recipe.sequence import facts_of
from hf_stitch.report.measure import Measure
from hf_stitch.report.verdict.evidence import (
    Lookup,
    appended,
    beside_cascade,
    join,
    lost_to_cascade,
    low,
    middle,
    percent,
    points,
    span,
)
from hf_stitch.report.verdict.verdict import Verdict

KAPPA_SURE = 0.6  # "substantial": the interval of a stitch that holds lies above
KAPPA_HIGH = 0.8  # "almost perfect": its value does too
KAPPA_FAIR = 0.4  # up to here "slight" or "fair": better than chance, and of no use
PENALTY = 0.05  # accuracy that a stitch that holds may lose against the target's own


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
    if facts_of(sequence).needs_ctc_head:
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
