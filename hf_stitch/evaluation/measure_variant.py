"""All measures of a fitted variant, split by split."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from hf_stitch.activations.activation_set import rows_at_once, sum_of_outputs
from hf_stitch.evaluation.activation_measures import correlation_measures, fit_measures, map_measures
from hf_stitch.evaluation.answer_kinds.base import References, Scope
from hf_stitch.evaluation.references import scope_of
from hf_stitch.evaluation.statistics.activations import RowSums
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
    samples = len(fitted.observations.frames[split])
    sums = RowSums(sum_of_outputs(target).numpy() / len(target), samples)
    mapped: list[tuple[Tensor, Tensor, Tensor]] = []
    with torch.no_grad():
        for index in source.blocks(rows_at_once(source, target)):
            x, y = source.take(index), target.take(index)
            values = x.values.to(device)
            sums.add(layer(values).cpu().double().numpy(), y.outputs.double().numpy(), x.keys[:, 0].numpy())
            if "target" in layer.coordinate_sides:
                theirs = layer.target_coordinates(y.values.to(device)).cpu()
                mapped.append((layer.coordinates(values).cpu(), theirs, x.keys[:, 0]))
    measures = fit_measures(fitted.label, sums, scope)
    if mapped:
        ours, theirs, owners = (torch.cat(column) for column in zip(*mapped))
        measures += map_measures(fitted.label, ours, theirs, scope, owners.numpy())
        measures += correlation_measures(fitted.label, ours, theirs, scope)
    return measures
