"""Of causal targets: what their second half says to activations that no map of the pairs made, and the source alone.

- `identity`: the source's own activations as they are, where both hook points are of one width.
- `mean`: at every position the target's mean activation of the fit.
- `shuffled-pairs`: a ridge on the pairs of the fit, dealt at random.
- `source`: what the whole source says itself, where both have the same tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hf_stitch.activations.next_tokens import BEST, KL, LOSS, OWN_BEST, OWN_LOSS
from hf_stitch.activations.ragged import Ragged
from hf_stitch.errors import FitError
from hf_stitch.evaluation.answer_kinds.next_tokens import NextTokens
from hf_stitch.evaluation.answers import planned_by
from hf_stitch.evaluation.controls.context import ControlContext
from hf_stitch.evaluation.target_half import TargetHalf, candidate_answers
from hf_stitch.stitching.layers.fit_layer import fit_layer
from hf_stitch.stitching.layers.layer import StitchingLayer
from hf_stitch.stitching.lengths.position_plan import Plan

ORDER = 60


def answers(context: ControlContext) -> dict[str, Any]:
    """On the test alone: on validation only methods are compared."""
    half, frames = context.half, context.observations.frames[context.split]
    if not isinstance(context.kind, NextTokens) or half is None or context.split != "test":
        return {}
    found = {name: context.kind.read(said) for name, said in _controls(context, half).items()}
    if isinstance(frames.source_output, Ragged) and isinstance(frames.output, Ragged):
        rows = frames.output.values.clone()
        if len(frames.source_output.values) == len(rows):
            source = frames.source_output.values
            rows[:, BEST], rows[:, LOSS], rows[:, KL] = source[:, OWN_BEST], source[:, OWN_LOSS], torch.nan
            found["source"] = context.kind.read(Ragged(rows, frames.output.lengths))
    return found


def _controls(context: ControlContext, half: TargetHalf) -> dict[str, Ragged]:
    seen, rule = context.observations, half.rule
    frames, runtime, width = seen.frames[context.split], seen.runtime, seen.target.point.width
    layer = _shuffled(context, half)

    def made(values: Tensor, mask: Tensor, plan: Plan) -> dict[str, Tensor]:
        rows = rule.rows(values, plan)
        mean = half.mean.to(values).expand(*plan.mask.shape, width)
        found = {"mean": mean}
        if rows.shape[-1] == width:
            found = {"identity": rule.assemble(rows, values, mask, plan), **found}
        if layer is not None:
            found["shuffled-pairs"] = rule.assemble(layer(rows), values, mask, plan)
        return found

    with seen.timings.stage("evaluate.controls"):
        texts = half.correspondence.texts(context.split)
        batches = planned_by(rule, seen.source.features, frames, texts, runtime)
        return candidate_answers(half, batches, frames, made)


def _shuffled(context: ControlContext, half: TargetHalf) -> StitchingLayer | None:
    """None where nothing is known of the fit, or a ridge cannot be fitted to its rows."""
    seen, recipe = context.observations, context.recipe
    if "fit" not in seen.frames:
        return None
    source, target = half.correspondence.rows("fit")
    order = torch.randperm(len(target), generator=torch.Generator().manual_seed(recipe.seed))
    try:
        layer = fit_layer("affine", source, target.dealt(order), fill=recipe.sequence.fill, steps=half.rule.steps)
    except FitError:
        return None
    return layer.to(seen.runtime.device)
