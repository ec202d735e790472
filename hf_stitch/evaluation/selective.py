"""What a trust score is worth: how often it abstains, how wrong what it keeps is, and error against distance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hf_stitch.evaluation.answer_kinds.base import Better, ErrorMeasure, Scope
from hf_stitch.evaluation.statistics import intervals
from hf_stitch.evaluation.statistics.intervals import LEVEL, RESAMPLES, Interval
from hf_stitch.geometry.subsets import evenly_spaced
from hf_stitch.recipe.side import Direction
from hf_stitch.report.measure import Measure

ABSTAIN = 0.02  # what the measures abstain below; by hand: it refuses 2 % of inputs of the fitted kind
BINS, PROBE_BINS, POINTS = 8, 2, 60  # of drawings; by hand


@dataclass(frozen=True)
class OodAnswers:
    """What is known of n inputs of one other kind.

    Attributes:
        score, distance: (n,) trust, and how far from what was fitted.
        errors: (n,) as of `trust_measures`; None where the target's own answer cannot be had.
    """

    score: np.ndarray
    distance: np.ndarray
    errors: np.ndarray | None = None


def trust_measures(
    method: str, trust: np.ndarray, errors: np.ndarray, kind: ErrorMeasure, scope: Scope
) -> list[Measure]:
    """Abstentions, and answers kept and refused.

    Args:
        trust: (n,) scores.
        errors: (n,) bool, other answers than the target's; squared differences from its output; shares of tokens
            that do not agree with its own; or divergence from what it says.
    """
    measures = []
    for split, rows in scope.parts(len(trust)):
        refused = trust[rows] < ABSTAIN
        share = intervals.wilson(int(refused.sum()), len(rows))
        measures.append(scope.measure("abstained", method, split, share, "lower"))
        measures += _by_trust(method, split, errors[rows], refused, kind, scope)
    if kind == "agreement" and 0 < errors.sum() < len(errors):
        wrong = errors.astype(bool)
        found = auroc(trust[~wrong], trust[wrong], scope.seed)
        measures.append(scope.measure("trust_auroc", method, scope.split, found))
    return measures


def _by_trust(
    method: str, split: str, errors: np.ndarray, refused: np.ndarray, kind: ErrorMeasure, scope: Scope
) -> list[Measure]:
    """Agreement or error of what is kept and of what is refused (n,) bool, where there is any."""
    measures, share = [], kind not in ("output_mse", "next_token_kl")
    for name, chosen in (("kept", errors[~refused]), ("abstained", errors[refused])):
        if len(chosen):
            better: Better = None if name == "abstained" else "higher" if share else "lower"
            found = _risk(chosen, kind == "agreement", scope.seed)
            found = Interval(1 - found.value, *_complement(found), found.n) if share else found
            measures.append(scope.measure(f"{kind}_{name}", method, split, found, better))
    return measures


def ood_measures(
    method: str,
    ood_inputs: dict[str, OodAnswers],
    trust: np.ndarray,
    kind: ErrorMeasure,
    direction: Direction,
    seed: int,
) -> list[Measure]:
    """Abstentions on inputs of another kind, and how well trust (n,) of the test tells them from it."""
    measures = []
    for name, odd in ood_inputs.items():
        scope = Scope(f"probe/{name}", direction, seed)
        refused = odd.score < ABSTAIN
        share = intervals.wilson(int(refused.sum()), len(refused))
        measures.append(scope.measure("abstained", method, scope.split, share, "higher"))
        measures.append(scope.measure("trust_auroc", method, scope.split, auroc(trust, odd.score, seed)))
        if odd.errors is not None:
            measures += _by_trust(method, scope.split, odd.errors, refused, kind, scope)
    return measures


def auroc(usual: np.ndarray, odd: np.ndarray, seed: int) -> Interval:
    """Chance that a usual sample is trusted more than an odd one, equal trust counting half; bootstrap over both."""
    generator, n, k = np.random.default_rng(seed), len(usual), len(odd)
    order = np.argsort(odd)
    below, upto = (np.searchsorted(odd[order], usual, side) for side in ("left", "right"))
    # How often each sample was drawn, a row a resample. Twice the wins, so that all sums are of whole numbers: exact.
    first, second = (generator.multinomial(m, np.full(m, 1 / m), RESAMPLES) for m in (n, k))
    drawn = [_wins(a, b, below, upto) / 2 / (n * k) for a, b in zip(first, second[:, order])]
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float((below + upto).sum() / 2 / (n * k)), float(low), float(min(high, 1.0)), n + k)


def _wins(usual: np.ndarray, odd: np.ndarray, below: np.ndarray, upto: np.ndarray) -> int:
    """Twice the pairs won, of samples drawn so often (n,) and (k,): ranks are sums of what is drawn of sorted `odd`."""
    total = np.concatenate([[0], np.cumsum(odd)])
    return int(usual @ (total[below] + total[upto]))


def risk_coverage(trust: np.ndarray, errors: np.ndarray) -> dict[str, list[float]]:
    """Mean error of the most trusted share of samples; samples of equal trust come in together."""
    order = np.argsort(-trust, kind="stable")
    total = np.cumsum(errors[order].astype(float))
    ends = np.flatnonzero(np.diff(-trust[order], append=np.inf))  # the last of each run of equal scores
    chosen = ends[evenly_spaced(len(ends), min(POINTS, len(ends))).numpy()]
    return {
        "coverage": ((chosen + 1) / len(trust)).tolist(),
        "risk": (total[chosen] / (chosen + 1)).tolist(),
        "threshold": trust[order][chosen].tolist(),
    }


def error_by_distance(
    distance: np.ndarray, errors: np.ndarray, classifier: bool, seed: int, most: int = BINS
) -> list[dict[str, Any]]:
    """Mean error of samples in bins of equal count, at most so many, by their distance from what was fitted."""
    known = np.flatnonzero(np.isfinite(distance))
    if not len(known):
        return []
    order = known[np.argsort(distance[known], kind="stable")]
    bins = []
    # At least 5 samples a bin, by hand: the interval of fewer says nothing.
    for rows in np.array_split(order, min(most, max(1, len(order) // 5))):
        found = _risk(errors[rows], classifier, seed)
        near, middle, far = np.quantile(distance[rows], [0, 0.5, 1]).tolist()
        ends = {"value": found.value, "low": found.low, "high": found.high, "n": found.n}
        bins.append({"from": near, "median": middle, "to": far, **ends})
    return bins


def ood_errors(ood_inputs: dict[str, OodAnswers], classifier: bool, seed: int) -> list[dict[str, Any]]:
    """Bins of `error_by_distance` of inputs of another kind, which each name as `kind`."""
    return [
        one | {"kind": name}
        for name, odd in ood_inputs.items()
        if odd.errors is not None
        for one in error_by_distance(odd.distance, odd.errors, classifier, seed, PROBE_BINS)
    ]


def _risk(errors: np.ndarray, classifier: bool, seed: int) -> Interval:
    if classifier:
        # Kept samples are often all right: Wilson's interval has a width there, a bootstrap has none.
        return intervals.wilson(int(errors.sum()), len(errors))
    return intervals.mean(errors, seed=seed)


def _complement(found: Interval) -> tuple[float | None, float | None]:
    low, high = (None if end is None else 1 - end for end in (found.high, found.low))
    return low, high
