"""One variant of a recipe: fit its layer, then measure it on every split."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from hf_stitch.activations.activation_set import ActivationSet
from hf_stitch.activations.local_metrics import Role
from hf_stitch.activations.observations import Observations
from hf_stitch.errors import FitError
from hf_stitch.geometry.local_metrics.local_metric import LocalMetric
from hf_stitch.models.assembly import assemble
from hf_stitch.models.fitted import Cutter, Fitted
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.stitching.layers.diffusion import shown
from hf_stitch.stitching.layers.fit_layer import fit_layer
from hf_stitch.stitching.lengths.learn import fit_special
from hf_stitch.stitching.lengths.rule import LengthRule
from hf_stitch.stitching.pairing import Pairing, activation_sets


def fit_variant(label: str, recipe: Recipe, observations: Observations, cutter: Cutter) -> Fitted:
    """Fit one variant on the fit split.

    Raises:
        FitError: fewer rows than the method needs, before any neighbour is run.
        StitchError: a rule or method that does not suit these models.
    """
    timings = observations.timings
    with timings.stage("pairing"):
        rule = observations.rule(recipe)
        pairing = observations.pairing(recipe, rule, "fit")
    check_rows(recipe, observations, rule, len(pairing), len(pairing.pairs))
    summaries: dict[str, Any] = {}
    metrics: list[LocalMetric | None] = [None, None]
    for side, role in enumerate(mapped_sides(recipe)):
        metrics[side], summaries[role] = observations.metric(recipe, role, pairing)
    with timings.stage(f"fit.{label}"):
        source, target = activation_sets(
            observations.source, observations.target, observations.frames["fit"], pairing, (metrics[0], metrics[1])
        )
        if recipe.stitch.shuffle is not None:
            target = shuffled(target, recipe.stitch.shuffle)
        layer = fit_layer(
            recipe.stitch.method,
            source,
            target,
            landing=recipe.stitch.landing,
            fill=recipe.sequence.fill,
            steps=rule.state.slice,
            options=recipe.stitch.options(),
            rows=observations.runtime.rows,
        )
        rule = fit_special(rule, observations.source, observations.frames["fit"], observations.texts(recipe, "fit"))
    for mapped in ("source", "target"):  # of the first variant that has maps: the recipe's own, where it is one
        if "seconds" in (notes := layer.diagnostics.get(mapped, {})):
            timings.setdefault(f"diffusion_map.{mapped}", notes["seconds"])
    _note_inputs(layer.diagnostics, observations, pairing)
    model = assemble(recipe, cutter.halves(recipe.sequence.length == "ctc"), layer, rule)
    few = [f"{role}: {one['scarce']}" for role, one in summaries.items() if "scarce" in one]
    layer.diagnostics["warnings"] = [*layer.diagnostics.get("warnings", []), *few]
    found = {**layer.diagnostics, "neighbourhoods": summaries, "rows": len(pairing), "dropped_words": pairing.dropped}
    if rule.predictor is not None:
        found["target_length"] = rule.predictor.spec
    return Fitted(label, recipe, model.to(observations.runtime.device), pairing, found)


def shuffled(rows: ActivationSet, seed: int) -> ActivationSet:
    """The same rows under each other's keys: what is fitted on them then has learned nothing from the pairs."""
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    metric = None if rows.metric is None else rows.metric.take(order)
    full = None if rows.full is None else rows.full[order]
    return replace(rows, values=rows.values[order], metric=metric, full=full)


def _note_inputs(diagnostics: dict[str, Any], observations: Observations, pairing: Pairing) -> None:
    """Beside the coordinates of a map: the inputs of the same rows, where they are one or two numbers to draw."""
    samples = observations.samples["fit"]
    for side, role in enumerate(("source", "target")):
        if samples.preparers[side].modality == "vector" and "coordinates" in (notes := diagnostics.get(role) or {}):
            inputs = np.stack(samples.batch(pairing.keys[shown(len(pairing)), 0].tolist(), side))
            if inputs.shape[1] <= 2:
                notes["inputs"] = inputs.tolist()


def mapped_sides(recipe: Recipe) -> list[Role]:
    """The sides of which a local metric is needed."""
    return [] if recipe.neighborhoods.kind == "none" else list(recipe.stitch.metric_sides())


def check_rows(recipe: Recipe, observations: Observations, rule: LengthRule, rows: int, samples: int) -> None:
    """FitError when so many rows of so many samples are fewer than the recipe's method needs."""
    width = len(observations.source.features or range(observations.source.point.width)) * rule.join
    if recipe.stitch.keeps_rows and rows < width + 1:
        raise FitError(
            f"stitch.method: {recipe.stitch.method} needs more rows than features: {rows} rows came from "
            f"{samples} samples, {width + 1} are needed for {width} features; give more samples, fewer "
            "features (source.features: {every: k}), or method: affine"
        )
