"""Which rows of both sides belong together under one variant of a recipe, and the geometry round each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from hf_stitch.activations.local_metrics import collect_metric
from hf_stitch.activations.observations import Observations
from hf_stitch.geometry.local_metrics.local_metric import LocalMetric
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.recipe.side import Role
from hf_stitch.stitching.lengths.learn import fit_special, make_rule
from hf_stitch.stitching.lengths.length_rule import LengthRule
from hf_stitch.stitching.lengths.target_texts import TargetTexts
from hf_stitch.stitching.paired_rows import PairedRows, activation_sets
from hf_stitch.stitching.pairing import Pairing, pair_rows

Value = TypeVar("Value")


class Shared:
    """What variants of a recipe on the same observations ask for alike, computed once."""

    def __init__(self) -> None:
        self._known: dict[Any, Any] = {}

    def get(self, key: Any, compute: Callable[[], Value]) -> Value:
        if key not in self._known:
            self._known[key] = compute()
        return self._known[key]


@dataclass(frozen=True)
class Correspondence:
    """The rows of one variant: its length rule, its pairs, and local metrics of its rows.

    Attributes:
        recipe: the variant; nothing else is asked of the observations.
        shared: target texts and local metrics of all variants on the same observations.
    """

    observations: Observations
    recipe: Recipe
    shared: Shared = field(default_factory=Shared)

    def texts(self, split: str) -> TargetTexts | None:
        """Tokens of a split's target texts, where the length rule needs them."""
        asked, seen = self.recipe.sequence, self.observations
        if not asked.facts.needs_target_texts:
            return None
        return self.shared.get(
            ("texts", asked.length, asked.unit, split),
            lambda: TargetTexts.of(seen.source, seen.target, seen.samples[split], asked),
        )

    @cached_property
    def rule(self) -> LengthRule:
        """The length rule, as learned from the lengths of the fit samples.

        Raises:
            RecipeError: the rule does not suit these models.
        """
        seen = self.observations
        return make_rule(self.recipe, seen.source, seen.target, seen.frames["fit"], self.texts("fit"))

    def whole_rule(self) -> LengthRule:
        """The rule as a stitched model runs it: with the target's special tokens."""
        seen = self.observations
        # Apart from `rule`: pairs need no special tokens, and their fit takes all samples.
        return fit_special(self.rule, seen.source, seen.frames["fit"], self.texts("fit"))

    @cached_property
    def fitted(self) -> Pairing:
        """Corresponding rows of the fit samples."""
        return self.pairing("fit")

    def pairing(self, split: str) -> Pairing:
        """Corresponding rows of a split.

        Raises:
            FitError: no row corresponds.
        """
        seen, keys = self.observations, self.observations.samples[split].keys
        # What pairs depend on: variants that differ in the method alone share them.
        asked = self.recipe.model_dump_json(include={"sequence", "seed"})
        return self.shared.get(
            ("pairs", split, asked),
            lambda: pair_rows(self.recipe, self.rule, seen.frames[split], keys, self.texts(split)),
        )

    def metric(self, role: Role) -> tuple[LocalMetric, dict[str, Any]]:
        """Local metric of the fit rows of one side, and its summary: see `collect_metric`."""
        seen = self.observations
        hooked = seen.source if role == "source" else seen.target
        windows = [pairs.source if role == "source" else pairs.target for pairs in self.fitted.pairs]

        def find() -> tuple[LocalMetric, dict[str, Any]]:
            with seen.timings.stage(f"neighbourhoods.{role}"):
                return collect_metric(
                    self.recipe, role, hooked, seen.samples["fit"], seen.frames["fit"], windows, seen.runtime
                )

        # What a metric depends on: variants that differ in the method alone share one.
        asked = self.recipe.model_dump_json(include={"neighborhoods", "sequence", "seed"})
        return self.shared.get(("metric", role, asked), find)

    def rows(
        self, split: str, metrics: tuple[LocalMetric | None, LocalMetric | None] = (None, None)
    ) -> tuple[PairedRows, PairedRows]:
        """Both sides of a split's corresponding rows, which are read when they are asked for."""
        seen, pairing = self.observations, self.fitted if split == "fit" else self.pairing(split)
        return activation_sets(seen.source, seen.target, seen.frames[split], pairing, metrics)
