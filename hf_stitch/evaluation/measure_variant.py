"""All measures of a fitted variant, split by split."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from hf_stitch.evaluation.activation_measures import correlation_measures, fit_measures, map_measures
from hf_stitch.evaluation.answer_kinds.base import References, Scope
from hf_stitch.evaluation.references import scope_of
from hf_stitch.models.fitted import Fitted
from hf_stitch.report.measure import Measure


def measure_variant(fitted: Fitted, references: Mapping[str, References]) -> list[Measure]:
    """All measures of a fitted variant whose answers are there, on the splits that have references."""
    measures = []
    for split, own in references.items():
        scope = scope_of(fitted.recipe, fitted.observations, split)
        measures += own.kind.measures(fitted.label, own.kind.read(fitted.answers[split]), own, scope)
        # On validation only the answers count, by which a method is chosen.
        if split == "test":
            measures += _activation_measures(fitted, split, scope)
    return measures


def _activation_measures(fitted: Fitted, split: str, scope: Scope) -> list[Measure]:
    """How near the predicted activations come to the target's own, on corresponding rows."""
    layer, device = fitted.model.layer, fitted.observations.runtime.device
    source, target = fitted.correspondence.rows(split)
    true = target.values if target.full is None else target.full
    samples = source.keys[:, 0].numpy()
    with torch.no_grad():
        predicted = layer(source.values.to(device)).cpu()
        measures = fit_measures(fitted.label, predicted, true, samples, scope)
        if "target" in layer.coordinate_sides:
            mapped = layer.coordinates(source.values.to(device)).cpu()
            coordinates = layer.target_coordinates(target.values.to(device)).cpu()
            measures += map_measures(fitted.label, mapped, coordinates, scope, samples)
            measures += correlation_measures(fitted.label, mapped, coordinates, scope)
    return measures
