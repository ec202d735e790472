"""The verdict on a target that writes texts.

Token agreement is weighed against what texts of this kind have in common anyway: the commonest text written to all
samples, and the target's own text of another sample. What is left above the better of the two, as a share of what
could be left, plays the part of kappa. Exact matches are told beside it; the cascade and the reference texts weigh as
they do for classifiers.
"""

from __future__ import annotations

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
    high,
    in_percent,
    join,
    low,
    middle,
    penalty,
    percent,
    unsure,
)
from hf_stitch.report.verdict.thresholds import TEXTS_FAIR, TEXTS_HIGH, TEXTS_SURE, WORDS_LOST
from hf_stitch.report.verdict.verdict import Verdict

COST = "adds {} word errors in 100 against the reference"
NO_COST = "adds no word errors against the reference"
CHANCE = {"majority": "always the commonest text", "other-sample": "those of other samples"}


def judge_texts(agreement: Measure, get: Lookup, asked: Asked) -> Verdict:
    """The verdict from the token agreement of a method and what else was measured.

    See `hf_stitch.report.verdict.judge`."""
    method = agreement.method
    known = [found for name in CHANCE if (found := get("token_agreement", name)) is not None]
    if not known:
        text = f"{_found(agreement, get)}; nothing was measured to compare this with."
        return Verdict("unscaled", text, "Measure what a constant text and those of other samples agree.")
    # The better of the two: a stitch must beat whatever comes without listening.
    chance = max(middle(m) for m in known)
    if chance >= 1:
        text = f"{_found(agreement, get)}, but the target writes the same to all samples, so that this shows nothing."
        return Verdict("unscaled", text, "Take samples to which the target has different things to say.")
    share, sure = (((end - chance) / (1 - chance)) for end in (middle(agreement), low(agreement)))
    if low(agreement) <= chance and share >= TEXTS_FAIR:
        text = f"{_found(agreement, get)}, but {unsure(agreement, 'a text that does not listen may do as well')}."
        return Verdict(TOO_FEW, text, MORE_TESTS)
    if low(agreement) <= chance:
        text = f"{_found(agreement, get)}: no better than a text that does not listen."
        return Verdict("no-better-than-majority", text, _remedy(get, method, asked))
    beyond = f"{percent(share)} of what can be won beyond chance"
    if share < TEXTS_FAIR:
        text = f"{_found(agreement, get)}: {beyond}, too little to be of use."
        return Verdict("fails", text, _remedy(get, method, asked))
    faults = _faults(share, get, method)
    few = share >= TEXTS_HIGH and sure < TEXTS_SURE
    doubts = [unsure(agreement, f"it is not surely above {TEXTS_SURE} of that")] if few else []
    if faults or doubts:
        text = f"{_found(agreement, get)}: {beyond}, but {join(faults + doubts)}."
        return (
            Verdict("holds-partly", text, _remedy(get, method, asked)) if faults else Verdict(TOO_FEW, text, MORE_TESTS)
        )
    behind, lost = get("token_agreement_minus_cascade", method), penalty(get, "answer_wer", method)
    text = f"The two halves fit: {_found(agreement, get)}{company(behind, lost, COST, NO_COST)}."
    return Verdict("holds", text, OWN_DATA)


def _found(agreement: Measure, get: Lookup) -> str:
    """What was found, with everything that token agreement must be read against."""
    method = agreement.method
    against = beside(get, "token_agreement", {**CHANCE, "cascade": "cascade"})
    of = f" of {agreement.n} test samples" if agreement.n else ""
    text = f"{method} writes {in_percent(agreement)} of the target's own tokens"
    if (exact := get("exact_match", method)) is not None:
        text += f", and {in_percent(exact)}{of} exactly"
    return text + (f" (tokens: {', '.join(against)})" if against else "")


def _faults(share: float, get: Lookup, method: str) -> list[str]:
    """Why a stitch that is better than chance does not hold in full."""
    faults = []
    if share < TEXTS_HIGH:
        faults.append(f"it writes otherwise than the target too often (below {TEXTS_HIGH} of that)")
    lost = penalty(get, "answer_wer", method)
    return faults + faults_beside(get("token_agreement_minus_cascade", method), lost, WORDS_LOST, COST)


def _remedy(get: Lookup, method: str, asked: Asked) -> str:
    """What to try next, the cascade where it is surely better."""
    cascade, reached = get("token_agreement", "cascade"), get("token_agreement", method)
    better = cascade is not None and reached is not None and high(reached) < middle(cascade)
    return advice(method, asked, asked.length_rules(), cascade if better else None)
