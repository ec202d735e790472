"""The verdict on a target that writes texts.

Token agreement is weighed against what texts of this kind have in common anyway: the commonest text written to all
samples, and the target's own text of another sample. What is left above the better of the two, as a share of what
could be left, plays the part of kappa. Exact matches are told beside it; the cascade and the reference texts weigh as
they do for classifiers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hf_stitch.report.measure import Measure
from hf_stitch.report.verdict.evidence import (
    Lookup,
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
from hf_stitch.report.verdict.verdict import Verdict

HOLDS, SURE = 0.9, 0.8  # of the agreement beyond chance: its value, and the lower end of its interval
FAIR = 0.5  # below, most of what could be won is missed
PENALTY = 0.05  # word errors against the reference that a stitch that holds may add to the target's own
CHANCE = ("majority", "other-sample")


def judge_texts(agreement: Measure, get: Lookup, asked: Mapping[str, Any]) -> Verdict:
    """The verdict from the token agreement of a method and what else was measured.

    See `hf_stitch.report.verdict.judge`."""
    method = agreement.method
    known = [found for name in CHANCE if (found := get("token_agreement", name)) is not None]
    if not known:
        text = f"{_found(agreement, get)}; nothing was measured to compare this with."
        return Verdict("unscaled", text, "Measure what a constant text and those of other samples agree.")
    chance = max(middle(m) for m in known)
    if chance >= 1:
        text = f"{_found(agreement, get)}, but the target writes the same to all samples, so that this shows nothing."
        return Verdict("unscaled", text, "Take samples to which the target has different things to say.")
    if low(agreement) <= chance:
        text = f"{_found(agreement, get)}: no better than a text that does not listen."
        return Verdict("no-better-than-majority", text, _remedy(get, method, asked))
    share, sure = (((end - chance) / (1 - chance)) for end in (middle(agreement), low(agreement)))
    beyond = f"{percent(share)} of what can be won beyond chance"
    if share < FAIR:
        text = f"{_found(agreement, get)}: {beyond}, too little to be of use."
        return Verdict("fails", text, _remedy(get, method, asked))
    faults = _faults(share, sure, get, method)
    if faults:
        return Verdict(
            "holds-partly", f"{_found(agreement, get)}: {beyond}, but {join(faults)}.", _remedy(get, method, asked)
        )
    text = f"The two halves fit: {_found(agreement, get)}{_company(get, method)}."
    return Verdict(
        "holds", text, "Try it on data of your own, from another source than the test's, before relying on it."
    )


def _found(agreement: Measure, get: Lookup) -> str:
    """What was found, with everything that token agreement must be read against."""
    method = agreement.method
    names = {"majority": "always the commonest text", "other-sample": "those of other samples", "cascade": "cascade"}
    against = [
        f"{title} {percent(found.value)}"
        for name, title in names.items()
        if (found := get("token_agreement", name)) is not None
    ]
    of = f" of {agreement.n} test samples" if agreement.n else ""
    text = f"{method} writes {percent(agreement.value)}{span(agreement, percent)} of the target's own tokens"
    if (exact := get("exact_match", method)) is not None:
        text += f", and {percent(exact.value)}{span(exact, percent)}{of} exactly"
    return text + (f" (tokens: {', '.join(against)})" if against else "")


def _faults(share: float, sure: float, get: Lookup, method: str) -> list[str]:
    """Why a stitch that is better than chance does not hold in full."""
    faults = []
    if share < HOLDS or sure < SURE:
        faults.append(
            f"it writes otherwise than the target too often (below {HOLDS} or not surely above {SURE} of that)"
        )
    faults += lost_to_cascade(get("token_agreement_minus_cascade", method))
    penalty = _penalty(get, method)
    if penalty is not None and penalty > PENALTY:
        faults.append(f"stitching adds {points(penalty)} word errors in 100 against the reference")
    return faults


def _company(get: Lookup, method: str) -> str:
    """How a stitch that holds stands to the cascade and to the target's own errors."""
    parts = beside_cascade(get("token_agreement_minus_cascade", method))
    penalty = _penalty(get, method)
    if penalty is not None:
        cost = f"adds {points(penalty)} word errors in 100" if penalty > 0 else "adds no word errors"
        parts.append(f"stitching {cost} against the reference")
    return appended(parts)


def _penalty(get: Lookup, method: str) -> float | None:
    """Word errors against the reference that stitching adds to those of the target itself."""
    own, stitched = get("answer_wer", "target"), get("answer_wer", method)
    return None if own is None or stitched is None else middle(stitched) - middle(own)


def _remedy(get: Lookup, method: str, asked: Mapping[str, Any]) -> str:
    """What to try next, without what the recipe does already."""
    stitch = asked.get("stitch", {})
    tries = ["more pairs (`data.fit.samples`)", "another length rule (`sequence.length`)"]
    if stitch.get("landing") != "nearest" and not method.endswith("+nearest"):
        tries.append("`stitch.landing: nearest`")
    if "embed" not in str(asked.get("target", {}).get("hook")):
        tries.append("an earlier target hook")
    advice = f"Try {', '.join(tries[:-1])}, or {tries[-1]}."
    cascade, reached = get("token_agreement", "cascade"), get("token_agreement", method)
    if cascade is not None and reached is not None and high(reached) < middle(cascade):
        return f"Use the cascade ({percent(cascade.value)}). {advice}"
    return advice
