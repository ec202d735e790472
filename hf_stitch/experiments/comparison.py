"""Variants tried on one bench against the same references, and which of them is best."""

from __future__ import annotations

from collections.abc import Sequence

from hf_stitch.activations.observations import Workbench
from hf_stitch.evaluation.measure_variant import measure_variant
from hf_stitch.evaluation.references import make_references, reference_measures
from hf_stitch.experiments.fit_variant import fit_variant
from hf_stitch.models.fitted import Cutter, Fitted
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.report.measure import Measure


class Trial:
    """A bench with its references: fits variants and measures them on validation and test."""

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench
        self.cutter = Cutter(bench)
        self.references = {split: make_references(bench, split) for split in bench.frames if split != "fit"}

    def serves(self, recipe: Recipe) -> bool:
        """True when a variant runs on this bench's models and data."""
        own = self.bench.recipe
        return (recipe.source, recipe.target, recipe.data) == (own.source, own.target, own.data)

    def fit(self, label: str, recipe: Recipe) -> Fitted:
        return fit_variant(label, recipe, self.bench, self.cutter)

    def measure(self, fitted: Fitted) -> list[Measure]:
        return measure_variant(fitted, self.bench, self.references)

    def reference_measures(self) -> list[Measure]:
        """What the references reach."""
        return [m for split, own in self.references.items() for m in reference_measures(self.bench, split, own)]

    def swapped(self) -> Trial:
        """The same trial from target to source."""
        return Trial(self.bench.swapped())


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
