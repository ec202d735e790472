"""How a fitted map stretches the activations of held-out samples, for inputs of which there is no grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from hf_stitch.activations.activation_set import rows_at_once
from hf_stitch.evaluation.answer_kinds.base import Scope
from hf_stitch.evaluation.answers import planned
from hf_stitch.evaluation.statistics import intervals
from hf_stitch.geometry.invertibility.jacobians import condition, jacobians, leading, singular
from hf_stitch.geometry.subsets import evenly_spaced
from hf_stitch.models.fitted import Fitted
from hf_stitch.report.measure import Measure

ROWS = 128  # held-out rows, each of another sample; by hand
MIN_ROWS = 5  # of which quantiles are told; by hand
SPLIT = "activations"


def invertibility_at_samples(fitted: Fitted) -> tuple[list[Measure], dict[str, Any]]:
    """Condition numbers of the map at test activations, along the leading principal directions of the fitted ones.

    Returns:
        Measures on `activations`, and `{"rows": {condition: sorted, directions, held, inside}}`, `held` the share of
        the fitted variance along those directions; nothing where there is no test, or hardly any, or the
        map has no derivative.
    """
    observations = fitted.observations
    if "test" not in observations.frames:
        return [], {}
    with observations.timings.stage("evaluate.jacobian"):
        points = _held_out_rows(fitted)
        if len(points) < MIN_ROWS:
            return [], {}
        directions, held = leading(_fitted_rows(fitted))
        layer = fitted.model.layer
        # Derived at 0 by steps along the leading directions: across them there are no data that could tell.
        steps = points.new_zeros(len(points), directions.shape[1])
        found = jacobians(lambda moved: layer.predict(points + moved @ directions.T), steps)
    if found is None:
        return [], {}
    everywhere = torch.ones(len(points), dtype=torch.bool, device=points.device)
    values = condition(found, everywhere)
    odd = singular(values, None, everywhere)
    scope = Scope(SPLIT, observations.direction, fitted.recipe.seed)
    numbers = values.cpu().numpy()
    bounds = {
        "condition_median": intervals.quantile(numbers, 0.5, scope.seed),
        "condition_95": intervals.quantile(numbers, 0.95, scope.seed),
        "singular_share": intervals.wilson(int(odd.sum()), len(odd)),
    }
    measures = [scope.measure(name, fitted.label, SPLIT, one, "lower") for name, one in bounds.items()]
    facts = {name: one.value for name, one in bounds.items()}
    drawing = {"condition": np.sort(numbers).round(4).tolist(), "directions": directions.shape[1], "held": held}
    return measures, {"rows": drawing | {"inside": facts | {"condition_max": float(numbers.max()), "n": len(numbers)}}}


def _fitted_rows(fitted: Fitted) -> Tensor:
    """(n, m) float64 source rows of the fit, as many as are held in memory at once."""
    source, target = fitted.correspondence.rows("fit")
    return source.spread(rows_at_once(source, target)).values.double().to(fitted.observations.runtime.device)


def _held_out_rows(fitted: Fitted) -> Tensor:
    """(n, m) float64 source rows of the test, one of each of at most ROWS samples, in the samples' order."""
    observations, texts = fitted.observations, fitted.correspondence.texts("test")
    frames, model, draw = observations.frames["test"], fitted.model, np.random.default_rng(fitted.recipe.seed)
    chosen = set(evenly_spaced(len(frames), min(len(frames), ROWS)).tolist())
    found = {}
    with torch.no_grad():
        for bucket, values, _, plan in planned(model, frames, texts, observations.runtime):
            rows = model.rule.rows(values, plan)
            for i, sample in enumerate(bucket):
                own = rows[i][plan.used[i]]
                if sample in chosen and len(own):
                    found[sample] = own[int(draw.integers(len(own)))]
    return torch.stack([found[sample] for sample in sorted(found)]).double() if found else rows.new_zeros(0)
