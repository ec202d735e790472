"""The verdict on a causal target that is hooked in the middle.

What is foretold must be what the target itself foretells: agreement on the most likely next token, beyond that of the
token which is foretold most often, is Cohen's kappa with the bands of classes. And it must cost little: the loss on the
true next tokens beside the target's own. The divergence is told beside that which the mean activation leaves; a map to
which the source's own activations, as they are, are surely preferable does harm.
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
    high,
    in_percent,
    join,
    low,
    middle,
    unsure,
)
from hf_stitch.report.verdict.thresholds import KAPPA_FAIR, KAPPA_HIGH, KAPPA_SURE, NATS_LOST
from hf_stitch.report.verdict.verdict import Verdict

AGREEMENT = "next_token_agreement"
CONTROLS = {"identity": "without a map", "mean": "the mean activation", "shuffled-pairs": "shuffled pairs"}


def judge_next_tokens(divergence: Measure, get: Lookup, asked: Asked) -> Verdict:
    """The verdict from a method's divergence and what else was measured; see `hf_stitch.report.verdict.judge`."""
    method = divergence.method
    agreement, chance = get(AGREEMENT, method), get(AGREEMENT, "majority")
    told = _told(divergence, get)
    if agreement is None or chance is None:
        return Verdict("unscaled", f"{told}; nothing was measured to compare this with.", MORE_TESTS)
    if middle(chance) >= 1:
        text = f"{told}, but the target foretells the same token everywhere, so that this shows nothing."
        return Verdict("unscaled", text, "Take texts of which the target has different things to foretell.")
    share, sure = ((end - middle(chance)) / (1 - middle(chance)) for end in (middle(agreement), low(agreement)))
    mean = get("next_token_kl", "mean")
    idle = mean is not None and low(divergence) >= middle(mean) > 0
    if sure <= 0 or idle:
        if share >= KAPPA_FAIR and not idle:
            text = f"{told}, but {unsure(agreement, 'always the same token may do as well')}."
            return Verdict(TOO_FEW, text, MORE_TESTS)
        text = f"{told}: no better than activations that do not know the text."
        return Verdict("no-better-than-constant", text, _remedy(method, asked))
    kappa = f"kappa {share:.3f}"
    if share < KAPPA_FAIR:
        return Verdict("fails", f"{told}: {kappa}, too little to be of use.", _remedy(method, asked))
    faults = _faults(share, divergence, get)
    doubts = [] if sure >= KAPPA_SURE or faults else [unsure(agreement, f"kappa is not surely above {KAPPA_SURE}")]
    if faults or doubts:
        text = f"{told}: {kappa}, but {join(faults + doubts)}."
        return Verdict("holds-partly", text, _remedy(method, asked)) if faults else Verdict(TOO_FEW, text, MORE_TESTS)
    return Verdict("holds", f"The two halves fit: {told}.", OWN_DATA)


def _told(divergence: Measure, get: Lookup) -> str:
    """What was found, with everything that it must be read against."""
    method, parts = divergence.method, list[str]()
    if (agreement := get(AGREEMENT, method)) is not None:
        against = beside(get, AGREEMENT, {"majority": "always the commonest", "source": "the source alone", **CONTROLS})
        among = f" ({', '.join(against)})" if against else ""
        parts.append(f"foretells the target's own next token at {in_percent(agreement)} of positions{among}")
    left = [f"{words} {m.write(m.value)}" for name, words in CONTROLS.items() if (m := get(divergence.name, name))]
    parts.append(f"diverges by {divergence.written()} nats a token" + (f" ({', '.join(left)})" if left else ""))
    own, given = get("perplexity", "target"), get("perplexity", method)
    if own is not None and given is not None:
        parts.append(f"has a perplexity of {given.write(given.value)} where the target has {own.write(own.value)}")
    of = f" on {divergence.n} test samples" if divergence.n else ""
    return f"{method} {join(parts)}{of}"


def _faults(share: float, divergence: Measure, get: Lookup) -> list[str]:
    """Why a stitch that is better than chance does not hold in full."""
    faults = []
    if share < KAPPA_HIGH:
        faults.append(f"it foretells other tokens than the target too often (kappa below {KAPPA_HIGH})")
    lost = get("loss_difference", divergence.method)
    if lost is not None and middle(lost) > NATS_LOST:
        faults.append(f"stitching adds {lost.write(lost.value)} nats to the loss")
    identity = get(divergence.name, "identity")
    if identity is not None and high(identity) < low(divergence):
        faults.append("the source's activations as they are do better without the map")
    return faults


def _remedy(method: str, asked: Asked) -> str:
    # No length rule: tokens are aligned as they are.
    return advice(method, asked, [], None)
