"""One variant of a recipe: fit its layer, then measure it on every split."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hf_stitch.activation_set import ActivationSet
from hf_stitch.answers import stitched_answers
from hf_stitch.assembly import Halves, assemble, cut
from hf_stitch.collection import Answers
from hf_stitch.errors import FitError
from hf_stitch.local_metrics import Role
from hf_stitch.manifold.local_metric import LocalMetric
from hf_stitch.measuring import (
    Scope,
    accuracy_measures,
    agreement_measures,
    cascade_difference,
    correlation_measures,
    fit_measures,
    map_measures,
    regression_measures,
    truth_measures,
)
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.pairing import Pairing, activation_sets, fit_special
from hf_stitch.ragged import Ragged
from hf_stitch.recipe import Recipe
from hf_stitch.references import References, is_classifier
from hf_stitch.report import Measure
from hf_stitch.scripts import Script, same, script_differences, script_measures, truth_script_measures
from hf_stitch.sequences.rule import LengthRule
from hf_stitch.stitching.diffusion import DiffusionLayer, shown
from hf_stitch.stitching.layer import fit_layer, options_of
from hf_stitch.workbench import Workbench

NEEDS_ROWS = ("rbf", "diffusion")


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

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench
        self._made: dict[bool, Halves] = {}

    def halves(self, needs_head: bool) -> Halves:
        if needs_head not in self._made:
            with self.bench.timings.stage("cut"):
                self._made[needs_head] = cut(self.bench.source, self.bench.target, needs_head)
        return self._made[needs_head]


def fit_variant(label: str, recipe: Recipe, bench: Workbench, cutter: Cutter) -> Fitted:
    """Fit one variant on the bench's fit split.

    Raises:
        FitError: fewer rows than the method needs, before any neighbour is run.
        StitchError: a rule or method that does not suit these models.
    """
    timings = bench.timings
    with timings.stage("pairing"):
        rule = bench.rule(recipe)
        pairing = bench.pairing(recipe, rule, "fit")
    check_rows(recipe, bench, rule, len(pairing), len(pairing.pairs))
    summaries: dict[str, Any] = {}
    metrics: list[LocalMetric | None] = [None, None]
    for side, role in enumerate(mapped_sides(recipe)):
        metrics[side], summaries[role] = bench.metric(recipe, role, pairing)
    with timings.stage(f"fit.{label}"):
        source, target = activation_sets(
            bench.source, bench.target, bench.frames["fit"], pairing, (metrics[0], metrics[1])
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
            rows=bench.runtime.rows,
        )
        rule = fit_special(rule, bench.source, bench.frames["fit"], bench.texts(recipe, "fit"))
    for mapped in ("source", "target"):  # of the first variant that has maps: the recipe's own, where it is one
        if "seconds" in (notes := layer.diagnostics.get(mapped, {})):
            timings.setdefault(f"diffusion_map.{mapped}", notes["seconds"])
    _note_inputs(layer.diagnostics, bench, pairing)
    model = assemble(recipe, cutter.halves(recipe.sequence.length == "ctc"), layer, rule)
    few = [f"{role}: {one['scarce']}" for role, one in summaries.items() if "scarce" in one]
    layer.diagnostics["warnings"] = [*layer.diagnostics.get("warnings", []), *few]
    found = {**layer.diagnostics, "neighbourhoods": summaries, "rows": len(pairing), "dropped_words": pairing.dropped}
    if rule.predictor is not None:
        found["target_length"] = rule.predictor.spec
    return Fitted(label, recipe, model.to(bench.runtime.device), pairing, found)


def shuffled(rows: ActivationSet, seed: int) -> ActivationSet:
    """The same rows under each other's keys: what is fitted on them then has learned nothing from the pairs."""
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    metric = None if rows.metric is None else rows.metric.take(order)
    full = None if rows.full is None else rows.full[order]
    return replace(rows, values=rows.values[order], metric=metric, full=full)


def _note_inputs(diagnostics: dict[str, Any], bench: Workbench, pairing: Pairing) -> None:
    """Beside the coordinates of a map: the inputs of the same rows, where they are one or two numbers to draw."""
    samples = bench.samples["fit"]
    for side, role in enumerate(("source", "target")):
        if samples.preparers[side].modality == "vector" and "coordinates" in (notes := diagnostics.get(role) or {}):
            inputs = np.stack(samples.batch(pairing.keys[shown(len(pairing)), 0].tolist(), side))
            if inputs.shape[1] <= 2:
                notes["inputs"] = inputs.tolist()


def mapped_sides(recipe: Recipe) -> list[Role]:
    """The sides of which a local metric is needed."""
    if recipe.stitch.method != "diffusion" or recipe.neighborhoods.kind == "none":
        return []
    sides = recipe.stitch.sides or options_of("diffusion")["sides"].default
    return ["source", "target"] if sides == "both" else ["source"]


def check_rows(recipe: Recipe, bench: Workbench, rule: LengthRule, rows: int, samples: int) -> None:
    """FitError when so many rows of so many samples are fewer than the recipe's method needs."""
    width = len(bench.source.features or range(bench.source.point.width)) * rule.join
    if recipe.stitch.method in NEEDS_ROWS and rows < width + 1:
        raise FitError(
            f"stitch.method: {recipe.stitch.method} needs more rows than features: {rows} rows came from "
            f"{samples} samples, {width + 1} are needed for {width} features; give more samples, fewer "
            "features (source.features: {every: k}), or method: affine"
        )


def measure_variant(fitted: Fitted, bench: Workbench, references: dict[str, References]) -> list[Measure]:
    """All measures of a fitted variant on validation and test."""
    measures = []
    for split, frames in bench.frames.items():
        if split == "fit":
            continue
        samples, own = bench.samples[split], references[split]
        scope = Scope(split, bench.direction, fitted.recipe.seed, samples.groups)  # type: ignore[arg-type]
        with bench.timings.stage(f"evaluate.{fitted.label}"):
            answers = stitched_answers(fitted.model, frames, bench.texts(fitted.recipe, split), bench.runtime)
            measures += answer_measures(fitted.label, answers, own, bench, split, scope)
            if split == "test":
                measures += _activation_measures(fitted, bench, split, scope)
    return measures


def answer_measures(
    label: str, answers: Answers, own: References, bench: Workbench, split: str, scope: Scope
) -> list[Measure]:
    """Measures of a model's answers on a split: (n, k) numbers, or the tokens that it writes."""
    if isinstance(answers, Ragged):
        return _written_measures(label, Script.of(bench.target, answers), own, scope)
    if not is_classifier(bench.target):
        found = regression_measures(label, answers.double().numpy(), own.numbers.double().numpy(), scope)
        return found if own.truth is None else found + truth_measures(label, answers.double().numpy(), own.truth, scope)
    given = answers.argmax(-1).numpy()
    measures = agreement_measures(label, given, own.labels, scope)
    if bench.samples[split].labels is not None:
        measures += accuracy_measures(label, given, np.array(bench.samples[split].labels), scope)
    if own.cascade is not None:
        measures += cascade_difference(label, given, own.cascade, own.labels, scope)
    return measures


def _written_measures(label: str, given: Script, own: References, scope: Scope) -> list[Measure]:
    assert own.script is not None
    measures = script_measures(label, given, own.script, scope)
    if own.true_texts is not None:
        measures += truth_script_measures(label, given, own.true_texts, scope)
    if own.cascade_script is not None:
        measures += script_differences(label, given, own.cascade_script, own.script, scope)
    return measures


def _activation_measures(fitted: Fitted, bench: Workbench, split: str, scope: Scope) -> list[Measure]:
    """How near the predicted activations come to the target's own, on corresponding rows."""
    rule, layer = fitted.model.rule, fitted.model.layer
    pairing = bench.pairing(fitted.recipe, rule, split)
    source, target = activation_sets(bench.source, bench.target, bench.frames[split], pairing, (None, None))
    true = target.values if target.full is None else target.full
    samples = pairing.keys[:, 0].numpy()
    device = bench.runtime.device
    with torch.no_grad():
        predicted = layer(source.values.to(device)).cpu()
        measures = fit_measures(fitted.label, predicted, true, samples, scope)
        if isinstance(layer, DiffusionLayer) and layer.options.get("sides") == "both":
            mapped = layer.coordinates(source.values.to(device)).cpu()
            coordinates = layer.target_coordinates(target.values.to(device)).cpu()
            measures += map_measures(fitted.label, mapped, coordinates, scope, samples)
            measures += correlation_measures(fitted.label, mapped, coordinates, scope)
    return measures


def error_by(bench: Workbench, references: References, answers: Answers) -> dict[str, Any]:
    """Share of disagreement by class and by source length on the test, for the report's drawings."""
    samples = bench.samples["test"]
    if references.script is not None:
        assert isinstance(answers, Ragged)
        wrong = ~same(Script.of(bench.target, answers), references.script)
        return {"error_by_length": _by_length(bench, wrong), "wrong": [samples.keys[i] for i in np.flatnonzero(wrong)]}
    if not is_classifier(bench.target):
        return {}
    assert isinstance(answers, Tensor)
    wrong = answers.argmax(-1).numpy() != references.labels
    names = bench.target.model.config.id2label
    classes = {
        str(names.get(k, k)): _share(wrong[references.labels == k]) for k in sorted(set(references.labels.tolist()))
    }
    return {
        "error_by_class": classes,
        "error_by_length": _by_length(bench, wrong),
        "wrong": [samples.keys[i] for i in np.flatnonzero(wrong)],
    }


def _by_length(bench: Workbench, wrong: np.ndarray) -> dict[str, Any]:
    """Share of wrong answers in quarters of the test by source length."""
    lengths = bench.frames["test"].source.lengths.numpy()
    edges = np.unique(np.quantile(lengths, [0, 0.25, 0.5, 0.75, 1.0]).astype(int))
    places = np.clip(np.searchsorted(edges, lengths, side="right") - 1, 0, max(len(edges) - 2, 0))
    return {
        f"{edges[k]}-{edges[min(k + 1, len(edges) - 1)]}": _share(wrong[places == k])
        for k in sorted(set(places.tolist()))
    }


def _share(wrong: np.ndarray) -> dict[str, Any]:
    from hf_stitch.statistics import wilson

    found = wilson(int(wrong.sum()), len(wrong))
    return {"value": found.value, "low": found.low, "high": found.high, "n": found.n}
