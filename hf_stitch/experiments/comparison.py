"""Variants compared on the same observations, against the same references, and which of them is best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hf_stitch.activations.aligned_tokens import in_the_middle
from hf_stitch.activations.observations import Observations
from hf_stitch.evaluation.answer_kinds.base import References
from hf_stitch.evaluation.answers import stitched_answers
from hf_stitch.evaluation.measure_variant import measure_variant
from hf_stitch.evaluation.references import make_references, reference_measures
from hf_stitch.evaluation.statistics import classes, intervals
from hf_stitch.evaluation.target_half import TargetHalf
from hf_stitch.experiments.fit_variant import fit_saved, fit_variant
from hf_stitch.hooks.position_limit import Cut, cut_samples, telling
from hf_stitch.models.fitted import Fitted, SharedHalves
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.report.measure import Measure
from hf_stitch.stitching.correspondence import Correspondence, Shared

SIGNS = {"agreement": 1, "output_mse": -1, "token_agreement": 1, "vector_r2": 1, "next_token_kl": -1}
"""The measure by which methods are compared, of each kind of answers; -1 where less is better."""


class Comparison:
    """A recipe's observations with their references: fits variants and measures them on validation and test."""

    def __init__(self, recipe: Recipe, observations: Observations, halves: SharedHalves | None = None) -> None:
        """Answers of the references are found; `halves` are those of the observations, where they were cut before."""
        self.recipe, self.observations = recipe, observations
        self.halves, self.shared = halves or SharedHalves(observations), Shared()
        # On the fit split a map is as good as it is flexible: nothing is measured there.
        held_out = [split for split in observations.frames if split != "fit"]
        self.references, half = dict[str, References](), self._half() if held_out else None
        for split in held_out:
            with observations.runtime.progress.stage(f"references ({split})"):
                self.references[split] = make_references(recipe, observations, split, half=half)
        self._errors: dict[str, np.ndarray] = {}  # of each sample of validation, by variant that has its answers

    def _half(self) -> TargetHalf | None:
        """The rest of a causal target that is hooked in the middle, which its controls run."""
        if not in_the_middle(self.observations.target):
            return None
        return TargetHalf.cut(self.halves.halves(needs_head=False), self.correspondence(self.recipe))

    def correspondence(self, recipe: Recipe) -> Correspondence:
        """Which rows belong together under a variant."""
        return Correspondence(self.observations, recipe, self.shared)

    def fit(self, label: str, recipe: Recipe) -> Fitted:
        """Fit a variant that is only compared."""
        return fit_variant(label, self.correspondence(recipe), self.halves)

    def fit_saved(self) -> Fitted:
        """Fit the recipe's own method, with all that is saved with it."""
        label, recipe = self.recipe.variants()[0]
        return fit_saved(label, self.correspondence(recipe), self.halves, self.recipe.fingerprint())

    def answered(self, fitted: Fitted) -> Fitted:
        """The same with its answers on validation and test: they are computed here, and nowhere else."""
        seen, answers, warnings = self.observations, {}, list(fitted.diagnostics.get("warnings", []))
        for split in self.references:
            told = seen.runtime.progress.stage(f"answers of {fitted.label} ({split})")
            with seen.timings.stage(f"evaluate.{fitted.label}"), told:
                texts, cuts = fitted.correspondence.texts(split), list[Cut]()
                with telling(cuts.append):
                    answers[split] = stitched_answers(fitted.model, seen.frames[split], texts, seen.runtime)
            warnings += cut_samples(split, cuts, seen.target.side.model)
        if "validation" in answers:
            kind, own = self.references["validation"].kind, seen.frames["validation"].output
            self._errors[fitted.label] = kind.errors(answers["validation"], own)
        return replace(fitted, answers=answers, diagnostics={**fitted.diagnostics, "warnings": warnings})

    def measure(self, fitted: Fitted) -> list[Measure]:
        """All measures of a variant that has its answers."""
        with self.observations.timings.stage(f"evaluate.{fitted.label}"):
            return measure_variant(fitted, self.references)

    def errors(self, label: str) -> np.ndarray | None:
        """Errors of a variant on each sample of validation; None of one that has no answers there."""
        return self._errors.get(label)

    def remember(self, label: str, errors: np.ndarray | None) -> None:
        """Take up the errors of a variant that was measured before."""
        if errors is not None:
            self._errors[label] = errors

    def surely_better(self, label: str, other: str) -> bool:
        """Whether a variant does better on validation by more than chance: paired, on the same samples."""
        first, second = self._errors.get(label), self._errors.get(other)
        return first is not None and second is not None and surely_smaller(first, second, self.recipe.seed)

    def reference_measures(self) -> list[Measure]:
        """What the references reach."""
        return [
            measure
            for split, own in self.references.items()
            for measure in reference_measures(self.recipe, self.observations, split, own)
        ]

    def serves(self, recipe: Recipe) -> bool:
        """True when a variant is about the same models and data, whichever way they are compared."""
        return self.recipe.observed_alike(recipe)

    def swapped(self) -> Comparison:
        """The same comparison from target to source."""
        return Comparison(self.recipe, self.observations.swapped())


def surely_smaller(first: np.ndarray, second: np.ndarray, seed: int = 0) -> bool:
    """Whether errors (n,) are smaller than others of the same samples: the 95 % interval of the difference is below 0.

    Of right and wrong (bool) by the table of outcomes, since a few samples on which they differ show little.
    """
    if first.dtype == bool:
        difference = classes.compare(~first, ~second, np.ones_like(first), seed=seed).difference
    else:
        difference = intervals.mean(second - first, seed=seed)
    return difference.low is not None and difference.low > 0


def choose(measures: Sequence[Measure], labels: Sequence[str]) -> dict[str, str] | None:
    """The method that is best on validation, of equals the first; None where there is no validation split."""
    for name, sign in SIGNS.items():
        known = {
            m.method: sign * m.value
            for m in measures
            if (m.name, m.split, m.direction) == (name, "validation", "forward") and m.value is not None
        }
        ranked = [label for label in labels if label in known]
        if ranked:
            return {"method": max(ranked, key=known.__getitem__), "split": "validation", "measure": name}
    return None
