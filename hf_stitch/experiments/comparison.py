"""Variants compared on the same observations, against the same references, and which of them is best."""

from __future__ import annotations

from collections.abc import Sequence

from hf_stitch.activations.observations import Observations
from hf_stitch.evaluation.measure_variant import measure_variant
from hf_stitch.evaluation.references import make_references, reference_measures
from hf_stitch.experiments.fit_variant import fit_variant
from hf_stitch.models.fitted import Cutter, Fitted
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.report.measure import Measure


class Comparison:
    """Observations with their references: fits variants and measures them on validation and test."""

    def __init__(self, observations: Observations) -> None:
        self.observations = observations
        self.cutter = Cutter(observations)
        self.references = {
            split: make_references(observations, split) for split in observations.frames if split != "fit"
        }

    def serves(self, recipe: Recipe) -> bool:
        """True when a variant runs on these models and data."""
        own = self.observations.recipe
        return (recipe.source, recipe.target, recipe.data) == (own.source, own.target, own.data)

    def fit(self, label: str, recipe: Recipe) -> Fitted:
        return fit_variant(label, recipe, self.observations, self.cutter)

    def measure(self, fitted: Fitted) -> list[Measure]:
        return measure_variant(fitted, self.observations, self.references)

    def reference_measures(self) -> list[Measure]:
        """What the references reach."""
        return [m for split, own in self.references.items() for m in reference_measures(self.observations, split, own)]

    def swapped(self) -> Comparison:
        """The same trial from target to source."""
        return Comparison(self.observations.swapped())


def choose(measures: Sequence[Measure], labels: Sequence[str]) -> dict[str, str] | None:
    """The method that is best on validation, of equals the first; None where there is no validation split."""
    for name, sign in (("agreement", 1), ("output_mse", -1), ("token_agreement", 1)):
        known = {
            m.method: sign * m.value
            for m in measures
            if (m.name, m.split, m.direction) == (name, "validation", "forward") and m.value is not None
        }
        ranked = [label for label in labels if label in known]
        if ranked:
            return {"method": max(ranked, key=known.__getitem__), "split": "validation", "measure": name}
    return None
