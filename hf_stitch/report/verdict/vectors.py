"""The verdict on a target that answers with a vector.

Two purposes are judged, each on the scale of Cohen's kappa. A search compares vectors: of each sample the target's own
vector should be found first among those of all, beyond the share that a vector which knows nothing finds, and up to
that which the target's own vectors find, where samples are given twice. A head reads them: R2 is told as the kappa that
the two answers of a linear head would have (see `thresholds.r2_of_kappa`). What holds for both holds; for search alone
is said so, and when another way from the source to the vectors is surely better in both, that is said too.
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
    high,
    in_percent,
    join,
    low,
    middle,
    percent,
    unsure,
)
from hf_stitch.report.verdict.thresholds import (
    SEARCH_FAIR,
    SEARCH_HIGH,
    SEARCH_SURE,
    SEARCHED,
    VECTORS_FAIR,
    VECTORS_HIGH,
    VECTORS_SURE,
)
from hf_stitch.report.verdict.verdict import Verdict

FOUND = "retrieval_r1"
WITHOUT = ("ridge", "procrustes")  # ways to the vectors without the target's half
HEAD = "for a head that reads its numbers: train it on the stitched vectors"


def judge_vectors(explained: Measure, get: Lookup, asked: Asked) -> Verdict:
    """The verdict from a method's R2 and what else was measured; see `hf_stitch.report.verdict.judge`."""
    method = explained.method
    found, chance, best = get(FOUND, method), get(FOUND, "mean"), get(FOUND, "target")
    told = _told(explained, get)
    if found is None or chance is None or (best is not None and middle(best) <= middle(chance)):
        text = f"{told}; samples that can be told apart are too few to say whether it finds its own among them."
        return Verdict("unscaled", text, MORE_TESTS)
    room = (1.0 if best is None else middle(best)) - middle(chance)
    share, sure = ((end - middle(chance)) / room for end in (middle(found), low(found)))
    if low(explained) <= 0 and sure <= 0:
        if share >= SEARCH_FAIR or middle(explained) >= VECTORS_FAIR:
            text = f"{told}, but {unsure(explained, 'the mean vector may do as well')}."
            return Verdict(TOO_FEW, text, MORE_TESTS)
        text = f"{told}: no better than always giving the mean vector."
        return Verdict("no-better-than-constant", text, _remedy(method, asked, get))
    behind = _behind(explained, found, get)
    if share < SEARCH_FAIR and middle(explained) < VECTORS_FAIR:
        text = "; ".join([f"{told}: better than the mean vector, but too little to be of use", *behind])
        return Verdict("fails", f"{text}.", _remedy(method, asked, get))
    searches = _weighed(share, sure, SEARCH_HIGH, SEARCH_SURE, found, "found first", "too few are found")
    if not searches and found.n is not None and found.n < SEARCHED:
        searches = [(unsure(found, f"among fewer than {SEARCHED} its own is easily found"), True)]
    reads = _weighed(
        middle(explained), low(explained), VECTORS_HIGH, VECTORS_SURE, explained, "R2", "too much is missed " + HEAD
    )
    if behind or searches:
        faults = [*behind, *(text for text, _ in (*searches, *reads))]
        few = not behind and all(doubt for _, doubt in (*searches, *reads))
        text = f"{told}, better than the mean vector, but {join(faults)}."
        return Verdict(TOO_FEW, text, MORE_TESTS) if few else Verdict("holds-partly", text, _remedy(method, asked, get))
    if reads:
        text = f"{told}: it finds what the target's own vectors find, but {reads[0][0]}."
        if reads[0][1]:
            return Verdict(TOO_FEW, text, MORE_TESTS)
        return Verdict("holds-for-search", text, _remedy(method, asked, get))
    return Verdict("holds", f"The two halves fit: {told}.", OWN_DATA)


def _weighed(
    value: float, least: float, wanted: float, surely: float, measure: Measure, name: str, fault: str
) -> list[tuple[str, bool]]:
    """What speaks against one purpose, and whether more samples might dispel it; nothing where it is served."""
    if value < wanted:
        return [(f"{fault} ({name} below {wanted:.2g})", False)]
    return [(unsure(measure, f"{name} is not surely above {surely:.2g}"), True)] if least < surely else []


def _told(explained: Measure, get: Lookup) -> str:
    """What was found, with everything that it must be read against."""
    method = explained.method
    text = f"{method} gives the target's own vectors with an R2 of {explained.written()}"
    if (found := get(FOUND, method)) is None:
        return text
    text += f" and finds the sample's own first for {in_percent(found)} of {found.n} test samples"
    titles = {"target": "the target itself", "mean": "the mean vector", "cascade": "the cascade"}
    titles |= {name: name for name in (*WITHOUT, "relative")}
    beside = [f"{title} {percent(m.value)}" for name, title in titles.items() if (m := get(FOUND, name)) is not None]
    return text + (f" ({', '.join(beside)})" if beside else "")


def _behind(explained: Measure, found: Measure, get: Lookup) -> list[str]:
    """Other ways to the vectors that are surely better in both."""
    ahead = []
    for name in WITHOUT:
        r2, first = get("vector_r2", name), get(FOUND, name)
        if r2 is not None and first is not None and low(r2) > high(explained) and low(first) > high(found):
            ahead.append(f"{name} without the target's half is better")
    pairs = [get(f"{name}_minus_cascade", explained.method) for name in ("vector_r2", FOUND)]
    if all(m is not None and m.high is not None and m.high < 0 for m in pairs):
        ahead.append("the cascade is better on the same samples")
    return ahead


def _remedy(method: str, asked: Asked, get: Lookup) -> str:
    """What to try next, the cascade where it surely finds more."""
    cascade, reached = get(FOUND, "cascade"), get(FOUND, method)
    better = cascade is not None and reached is not None and high(reached) < middle(cascade)
    return advice(method, asked, asked.length_rules(), cascade if better else None)
