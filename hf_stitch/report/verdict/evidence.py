"""What verdicts are made of: the limits of measures, and numbers in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hf_stitch.recipe.stitch import DEFAULT
from hf_stitch.report import catalogue
from hf_stitch.report.measure import Measure

Lookup = Callable[[str, str], Measure | None]
"""The measure of a name and a method on the split that is judged, None where it is not known."""


def middle(measure: Measure) -> float:
    return math.nan if measure.value is None else measure.value


def low(measure: Measure) -> float:
    """The lower limit; the value itself where nothing is random."""
    return middle(measure) if measure.low is None else measure.low


def high(measure: Measure) -> float:
    return middle(measure) if measure.high is None else measure.high


def percent(share: float | None) -> str:
    return "n/a" if share is None else f"{100 * share:.1f} %"


def points(share: float) -> str:
    return f"{100 * share:.1f}"


def in_percent(share: Measure) -> str:
    """A share and its interval in percent: `96.5 % [93.0, 98.3]`."""
    return f"{percent(share.value)} {share.spread(points)}".rstrip()


def join(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + ", and " + parts[-1]


def beside(get: Lookup, name: str, titles: Mapping[str, str]) -> list[str]:
    """What references reach, as `title 50.0 %` of each that was measured; `titles` by reference."""
    found = [(title, get(name, reference)) for reference, title in titles.items()]
    return [f"{title} {percent(m.value)}" for title, m in found if m is not None]


def penalty(get: Lookup, name: str, method: str) -> float | None:
    """Stitching penalty: how far the stitched model's score lies on the worse side of the target's own."""
    own, stitched = get(name, "target"), get(name, method)
    if own is None or stitched is None:
        return None
    lost = middle(own) - middle(stitched)
    return -lost if catalogue.MEASURES[name].scale == "error" else lost


def faults_beside(behind: Measure | None, lost: float | None, most: float, words: str) -> list[str]:
    """Faults of a method that the cascade surely beats, and of one that costs too much.

    Args:
        behind: the method minus the cascade.
        lost: the stitching penalty, of which `most` is still no fault.
        words: of what it costs, with `{}` for the points.
    """
    faults = []
    # Only where the whole interval lies below 0: chance alone must not make a fault.
    if behind is not None and behind.high is not None and behind.high < 0:
        faults.append(f"the cascade is better on the same samples by {points(-middle(behind))} points")
    if lost is not None and lost > most:
        faults.append(f"stitching {words.format(points(lost))}")
    return faults


def company(behind: Measure | None, lost: float | None, words: str, nothing: str) -> str:
    """How a method that holds stands to the cascade and to the target's own score; see `faults_beside`.

    Args:
        nothing: in place of `words` where there is no penalty.
    """
    parts = []
    if behind is not None and behind.low is not None:
        word = "better than the cascade" if behind.low > 0 else "not distinguishable from the cascade"
        parts.append(f"it is {word} on the same samples")
    if lost is not None:
        parts.append(f"stitching {words.format(points(lost)) if lost > 0 else nothing}")
    return "; " + " and ".join(parts) if parts else ""


def unsure(measure: Measure, what: str) -> str:
    """That a measure may be as good as it looks, on too few samples to say so."""
    return f"{measure.n or 'the'} test samples are too few to be sure ({what})"


TOO_FEW = "too-few-samples"  # the code of a verdict that waits for more: nothing is wrong but their number
MORE_TESTS = "Measure it on more samples: give `data.test` more, or run `hf-stitch evaluate DIR dataset=FILE`."
OWN_DATA = "Try it on data of your own, from another source than the test's, before relying on it."


def advice(method: str, asked: Asked, first: Sequence[str], cascade: Measure | None) -> str:
    """What to try next, without what the recipe does already, or has among its comparisons.

    Args:
        first: what comes before the advice that all have in common.
        cascade: where it should be used instead, None where it is no better.
    """
    tries = [asked.more_pairs(), *first]
    if not method.endswith("+nearest") and not asked.has("stitch", "landing", "nearest"):
        tries.append("`stitch.landing: nearest`")
    if not any(word in str(asked.recipe.get("target", {}).get("hook")) for word in FIRST_LAYERS):
        tries.append("an earlier target hook")
    text = f"Try {', '.join(tries[:-1])}, or {tries[-1]}." if len(tries) > 1 else f"Try {tries[0]}."
    return text if cascade is None else f"Use the cascade ({percent(cascade.value)}). {text}"


FIRST_LAYERS = ("embed", "wte", "shared")  # parts of names of embeddings: no hook of the target is earlier


@dataclass(frozen=True)
class Asked:
    """What a verdict must know beside the measures, to advise only what can be done and was not.

    Attributes:
        recipe: as plain data; empty where it is not known.
        lengths_equal: source and target have as many positions in every sample, so that no length rule differs.
        missed: classes of the target that are answered otherwise on all their samples, with the number of those.
    """

    recipe: Mapping[str, Any] = field(default_factory=dict)
    lengths_equal: bool = False
    missed: Mapping[str, int] = field(default_factory=dict)

    @property
    def method(self) -> str:
        return str(self.recipe.get("stitch", {}).get("method", DEFAULT.method))

    def has(self, part: str, key: str, value: str | None = None) -> bool:
        """Whether the recipe, or a comparison by the same method, gives a key (this value); its table then shows it."""
        return any(key in one and value in (None, one[key]) for one in self._parts(part))

    def _parts(self, part: str) -> Iterator[Mapping[str, Any]]:
        yield self.recipe.get(part, {})
        for entry in self.recipe.get("compare", []):
            if isinstance(entry, str):
                method, _, landing = entry.partition("+")
                entry = {"stitch": {"method": method, "landing": landing}}
            if entry.get("stitch", {}).get("method", self.method) == self.method:
                yield entry.get(part, {})

    def more_pairs(self) -> str:
        """How the recipe gets more pairs."""
        if self.recipe.get("stitch", {}).get("pairs"):
            return "more pairs (`stitch.pairs`)"
        fit = self.recipe.get("data", {}).get("fit")
        all_in_use = fit is not None and fit.get("samples") is None
        return "more pairs (more rows for `data.fit`)" if all_in_use else "more pairs (`data.fit.samples`)"

    def length_rules(self, *better: str) -> list[str]:
        """Advice on length rules: those of `better` that were not tried, or any other where none is named."""
        if self.lengths_equal:
            return []
        if better:
            return [
                f"better time alignment (`sequence.length: {r}`)"
                for r in better
                if not self.has("sequence", "length", r)
            ]
        compared = [one for one in self.recipe.get("compare", []) if not isinstance(one, str)]
        return [] if any("length" in one.get("sequence", {}) for one in compared) else ["another length rule"]
