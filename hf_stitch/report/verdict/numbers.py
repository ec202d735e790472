"""The verdict on a target that answers with numbers."""

from __future__ import annotations

from hf_stitch.recipe.stitch import METHODS
from hf_stitch.report.measure import Measure, number
from hf_stitch.report.verdict.evidence import (
    MORE_TESTS,
    TOO_FEW,
    Asked,
    Lookup,
    high,
    middle,
    percent,
    unsure,
)
from hf_stitch.report.verdict.thresholds import UNEXPLAINED, UNEXPLAINED_PARTLY
from hf_stitch.report.verdict.verdict import Verdict

OPTIONS = {
    "coordinates": "more `stitch.coordinates`",
    "neighbours": "more `stitch.neighbours`",
    "inverse": "the other `stitch.inverse`",
    "rank": "a higher `stitch.rank`",
}


def judge_numbers(error: Measure, get: Lookup, asked: Asked) -> Verdict:
    """The verdict from a method's output error and what else was measured; see `hf_stitch.report.verdict.judge`."""
    method = error.method
    constant = get("output_mse", "majority")
    found = f"{method} gives the target's own output up to a squared error of {error.written()}"
    if (inside := get("map_mse", method)) is not None:
        found += f" (between the maps {number(inside.value)})"
    if constant is None or middle(constant) <= 0.0:
        text = f"{found}; nothing was measured to compare this with."
        return Verdict("unscaled", text, "Measure the error of a constant answer on the same samples.")
    # The error of a constant is the output's variance, so their ratio is the share that is missed.
    missed, most = middle(error) / middle(constant), high(error) / middle(constant)
    found += f"; a constant answer has {number(constant.value)}"
    more = _remedy(asked)
    if most >= 1.0 and missed <= UNEXPLAINED_PARTLY:
        text = f"{found}, but {unsure(error, 'a constant answer may be as near')}."
        return Verdict(TOO_FEW, text, MORE_TESTS)
    if most >= 1.0:
        return Verdict("no-better-than-constant", f"{found}: no better than a constant answer.", more)
    if missed > UNEXPLAINED_PARTLY:
        return Verdict("regression-fails", f"{found}: most of the target's output is missed.", more)
    if most > UNEXPLAINED >= missed:
        text = f"{found}: {percent(missed)} of its variance is missed, but {unsure(error, f'up to {percent(most)}')}."
        return Verdict(TOO_FEW, text, MORE_TESTS)
    if most > UNEXPLAINED:
        return Verdict("regression-holds-partly", f"{found}: {percent(missed)} of its variance is missed.", more)
    text = f"The two halves fit: {found}."
    return Verdict("regression-holds", text, "Try points outside the sampled region before relying on it there.")


def _remedy(asked: Asked) -> str:
    """What to try next, of what the method takes."""
    given = asked.recipe.get("stitch", {})
    tries = [words for option, words in OPTIONS.items() if option in METHODS[asked.method].option_names()]
    if given.get("landmarks") is not None:  # else all rows are
        tries.append("more `stitch.landmarks`")
    return f"Try {', '.join([asked.more_pairs(), *tries])}, or another `stitch.method`."
