"""A fitted variant, and the halves that variants share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hf_stitch.activations.observations import Observations
from hf_stitch.models.assembly import Halves, cut
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.stitching.pairing import Pairing


@dataclass(frozen=True)
class Fitted:
    """A fitted variant: its model, and what the fit found on the way."""

    label: str
    recipe: Recipe
    model: StitchedModel
    pairing: Pairing
    diagnostics: dict[str, Any]


class Cutter:
    """Cuts the two models once for all variants that need the same ends."""

    def __init__(self, observations: Observations) -> None:
        self.observations = observations
        self._made: dict[bool, Halves] = {}

    def halves(self, needs_head: bool) -> Halves:
        if needs_head not in self._made:
            with self.observations.timings.stage("cut"):
                self._made[needs_head] = cut(self.observations.source, self.observations.target, needs_head)
        return self._made[needs_head]
