"""A fitted variant, and the halves that variants share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from hf_stitch.activations.aligned_tokens import in_the_middle
from hf_stitch.activations.frames import Answers
from hf_stitch.activations.observations import Observations
from hf_stitch.models.assembly import Halves, cut
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.stitching.correspondence import Correspondence


@dataclass(frozen=True)
class Fitted:
    """A fitted variant of a recipe: a finished value.

    Attributes:
        correspondence: the rows on which it was fitted.
        diagnostics: what the fit found on the way, as plain data.
        trust: what is known of the model's trust gauge; None where it has none.
        answers: the model's own, by split; there once they were computed, by `answered`.
    """

    label: str
    model: StitchedModel
    correspondence: Correspondence
    diagnostics: Mapping[str, Any]
    trust: Mapping[str, Any] | None = None
    answers: Mapping[str, Answers] = field(default_factory=dict)

    @property
    def recipe(self) -> Recipe:
        return self.correspondence.recipe

    @property
    def observations(self) -> Observations:
        return self.correspondence.observations


class SharedHalves:
    """Splits the two models once for all variants that need the same halves."""

    def __init__(self, observations: Observations) -> None:
        self.observations = observations
        self._made: dict[bool, Halves] = {}

    def halves(self, needs_head: bool) -> Halves:
        """The halves; `needs_head`: with the source's CTC head."""
        if needs_head not in self._made:
            with self.observations.timings.stage("cut"):
                made = cut(self.observations.source, self.observations.target, needs_head)
                mean = self._mean_activation() if in_the_middle(self.observations.target) else None
                self._made[needs_head] = replace(made, mean_vector=self._mean_vector(), mean_activation=mean)
        return self._made[needs_head]

    def _mean_activation(self) -> Tensor:
        """Of the target over all positions of the fit."""
        frames = self.observations.frames["fit"].target
        sums = [frames.take(part).values.double().sum(0) for part in frames.parts]
        return torch.stack(sums).sum(0) / int(frames.lengths.sum())

    def _mean_vector(self) -> Tensor | None:
        """Of the target's own answers in the fit, where they are vectors."""
        answers = self.observations.frames["fit"].output
        vectors = self.observations.target.vector_head is not None and isinstance(answers, Tensor)
        return answers.double().mean(0) if vectors else None  # type: ignore[union-attr]
