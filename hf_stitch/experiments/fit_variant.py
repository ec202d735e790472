"""Fits one variant of a recipe: its map, its stitched model, and for the one that is saved its trust gauge."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from hf_stitch.activations.activation_set import RowSet
from hf_stitch.activations.observations import Observations
from hf_stitch.errors import FitError
from hf_stitch.experiments.fit_trust import fit_trust
from hf_stitch.geometry.local_metrics.local_metric import LocalMetric
from hf_stitch.geometry.subsets import shown
from hf_stitch.models.assembly import assemble
from hf_stitch.models.fitted import Fitted, SharedHalves
from hf_stitch.models.hub.map_only import MAP_ONLY, pin_revisions
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.recipe.side import SIDES, Role
from hf_stitch.runtime.extras import extra
from hf_stitch.runtime.timings import Timings
from hf_stitch.stitching.correspondence import Correspondence
from hf_stitch.stitching.layers.fit_layer import fit_layer
from hf_stitch.stitching.layers.layer import StitchingLayer
from hf_stitch.stitching.pairing import Pairing


def fit_variant(
    label: str, correspondence: Correspondence, halves: SharedHalves, fingerprint: str | None = None
) -> Fitted:
    """Fit one variant on the fit split.

    Args:
        fingerprint: of the whole recipe, for the model that is saved.

    Raises:
        FitError: fewer rows than the method needs, before any neighbour is run.
        StitchError: a rule or method that does not suit these models.
    """
    recipe, seen = correspondence.recipe, correspondence.observations
    with seen.timings.stage("pairing"):
        pairing = correspondence.fitted
    # Before the metrics: neighbours take most of the time, and too few rows can be told now.
    check_rows(correspondence, len(pairing), len(pairing.pairs))
    metrics: list[LocalMetric | None] = [None, None]
    summaries: dict[str, Any] = {}
    for side, role in enumerate(mapped_sides(recipe)):
        metrics[side], summaries[role] = correspondence.metric(role)
    told = f"fitting {label} ({recipe.stitch.work(len(pairing))})"
    with seen.timings.stage(f"fit.{label}"), seen.runtime.progress.stage(told):
        layer = fit_map(recipe, *correspondence.rows("fit", (metrics[0], metrics[1])), seen, correspondence.rule.steps)
        rule = correspondence.whole_rule()
    _note_seconds(layer, seen.timings)
    needs_head = recipe.sequence.facts.needs_ctc_head
    model = assemble(recipe, halves.halves(needs_head), layer, rule, fingerprint).to(seen.runtime.device)
    found = {**_with_inputs(layer.diagnostics, seen, pairing), "neighbourhoods": summaries}
    few = [f"{role}: {one['scarce']}" for role, one in summaries.items() if "scarce" in one]
    found |= {"warnings": [*layer.diagnostics.get("warnings", []), *few]}
    found |= {"rows": len(pairing), "dropped_words": pairing.dropped}
    if rule.predictor is not None:
        found["target_length"] = rule.predictor.spec
    return Fitted(label, model, correspondence, found)


def fit_saved(label: str, correspondence: Correspondence, halves: SharedHalves, fingerprint: str) -> Fitted:
    """Fit the variant that is saved: with its trust gauge, and with pinned halves where the map alone is stored.

    Raises:
        StitchError: as `fit_variant`; a gauge that cannot be fitted is a warning.
    """
    fitted = fit_variant(label, correspondence, halves, fingerprint)
    trust, warnings = None, list[str]()
    with extra(f"trust: {correspondence.recipe.trust}", warnings):
        trust = fit_trust(fitted.model, correspondence)
    if correspondence.recipe.save == MAP_ONLY:
        pin_revisions(fitted.model.config, fitted.model.prefix, fitted.model.suffix)
    told = {**fitted.diagnostics, "warnings": [*fitted.diagnostics["warnings"], *warnings]}
    return replace(fitted, trust=trust, diagnostics=told)


def fit_map(
    recipe: Recipe, source: RowSet, target: RowSet, observations: Observations, steps: int = 1
) -> StitchingLayer:
    """The recipe's stitching layer on corresponding rows, each of so many timesteps."""
    asked = recipe.stitch
    return fit_layer(
        asked.method,
        source,
        target if asked.shuffle is None else shuffled(target, asked.shuffle),
        landing=asked.landing,
        fill=recipe.sequence.fill,
        steps=steps,
        options=asked.options(),
        rows=observations.runtime.rows,
    )


def shuffled(rows: RowSet, seed: int) -> RowSet:
    """The same rows under each other's keys: what is fitted on them then has learned nothing from the pairs."""
    # A generator of its own: the control must not move the draws of what comes after it.
    return rows.dealt(torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)))


def _note_seconds(layer: StitchingLayer, timings: Timings) -> None:
    """Seconds of the maps of the first variant that has any: the recipe's own, where it is one."""
    for role in SIDES:
        if "seconds" in (notes := layer.diagnostics.get(role, {})):
            timings.setdefault(f"diffusion_map.{role}", notes["seconds"])


def _with_inputs(diagnostics: dict[str, Any], observations: Observations, pairing: Pairing) -> dict[str, Any]:
    """What a layer found; beside the coordinates of a map the inputs of the same rows, where they can be drawn."""
    samples, found = observations.samples["fit"], dict(diagnostics)
    for side, role in enumerate(SIDES):
        if samples.preparers[side].modality == "vector" and "coordinates" in (notes := diagnostics.get(role) or {}):
            inputs = np.stack(samples.batch(pairing.keys_of(shown(len(pairing)))[:, 0].tolist(), side))
            if inputs.shape[1] <= 2:
                found[role] = {**notes, "inputs": inputs.tolist()}
    return found


def mapped_sides(recipe: Recipe) -> list[Role]:
    """The sides of which a local metric is needed."""
    return [] if recipe.neighborhoods.kind == "none" else list(recipe.stitch.metric_sides())


def check_rows(correspondence: Correspondence, rows: int, samples: int) -> None:
    """FitError when so many rows of so many samples are fewer than the recipe's method needs."""
    source, asked = correspondence.observations.source, correspondence.recipe.stitch
    width = len(source.features or range(source.point.width)) * correspondence.rule.join
    if asked.keeps_rows and rows < width + 1:
        raise FitError(
            f"stitch.method: {asked.method} needs more rows than features: {rows} rows came from "
            f"{samples} samples, {width + 1} are needed for {width} features; give more samples, fewer "
            "features (source.features: {every: k}), or method: affine"
        )
