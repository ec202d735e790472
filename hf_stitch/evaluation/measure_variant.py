"""All measures of a fitted variant, split by split."""

from __future__ import annotations

import numpy as np
import torch

from hf_stitch.activations.frames import Answers
from hf_stitch.activations.observations import Observations
from hf_stitch.activations.ragged import Ragged
from hf_stitch.evaluation.activation_measures import correlation_measures, fit_measures, map_measures
from hf_stitch.evaluation.answer_kinds.base import Scope
from hf_stitch.evaluation.answer_kinds.classes import accuracy_measures, agreement_measures, cascade_difference
from hf_stitch.evaluation.answer_kinds.numbers import regression_measures, truth_measures
from hf_stitch.evaluation.answer_kinds.texts import (
    GeneratedTexts,
    text_differences,
    text_measures,
    truth_text_measures,
)
from hf_stitch.evaluation.answers import stitched_answers
from hf_stitch.evaluation.references import References
from hf_stitch.models.fitted import Fitted
from hf_stitch.models.tasks import is_classifier
from hf_stitch.report.measure import Measure
from hf_stitch.stitching.pairing import activation_sets


def measure_variant(fitted: Fitted, observations: Observations, references: dict[str, References]) -> list[Measure]:
    """All measures of a fitted variant on validation and test."""
    measures = []
    for split, frames in observations.frames.items():
        if split == "fit":
            continue
        samples, own = observations.samples[split], references[split]
        scope = Scope(split, observations.direction, fitted.recipe.seed, samples.groups)  # type: ignore[arg-type]
        with observations.timings.stage(f"evaluate.{fitted.label}"):
            answers = stitched_answers(
                fitted.model, frames, observations.texts(fitted.recipe, split), observations.runtime
            )
            measures += answer_measures(fitted.label, answers, own, observations, split, scope)
            if split == "test":
                measures += _activation_measures(fitted, observations, split, scope)
    return measures


def answer_measures(
    label: str, answers: Answers, own: References, observations: Observations, split: str, scope: Scope
) -> list[Measure]:
    """Measures of a model's answers on a split: (n, k) numbers, or the tokens that it writes."""
    if isinstance(answers, Ragged):
        return _written_measures(label, GeneratedTexts.of(observations.target, answers), own, scope)
    if not is_classifier(observations.target):
        found = regression_measures(label, answers.double().numpy(), own.numbers.double().numpy(), scope)
        return found if own.truth is None else found + truth_measures(label, answers.double().numpy(), own.truth, scope)
    given = answers.argmax(-1).numpy()
    measures = agreement_measures(label, given, own.labels, scope)
    if observations.samples[split].labels is not None:
        measures += accuracy_measures(label, given, np.array(observations.samples[split].labels), scope)
    if own.cascade is not None:
        measures += cascade_difference(label, given, own.cascade, own.labels, scope)
    return measures


def _written_measures(label: str, given: GeneratedTexts, own: References, scope: Scope) -> list[Measure]:
    assert own.script is not None
    measures = text_measures(label, given, own.script, scope)
    if own.true_texts is not None:
        measures += truth_text_measures(label, given, own.true_texts, scope)
    if own.cascade_texts is not None:
        measures += text_differences(label, given, own.cascade_texts, own.script, scope)
    return measures


def _activation_measures(fitted: Fitted, observations: Observations, split: str, scope: Scope) -> list[Measure]:
    """How near the predicted activations come to the target's own, on corresponding rows."""
    rule, layer = fitted.model.rule, fitted.model.layer
    pairing = observations.pairing(fitted.recipe, rule, split)
    source, target = activation_sets(
        observations.source, observations.target, observations.frames[split], pairing, (None, None)
    )
    true = target.values if target.full is None else target.full
    samples = pairing.keys[:, 0].numpy()
    device = observations.runtime.device
    with torch.no_grad():
        predicted = layer(source.values.to(device)).cpu()
        measures = fit_measures(fitted.label, predicted, true, samples, scope)
        if "target" in layer.coordinate_sides:
            mapped = layer.coordinates(source.values.to(device)).cpu()
            coordinates = layer.target_coordinates(target.values.to(device)).cpu()
            measures += map_measures(fitted.label, mapped, coordinates, scope, samples)
            measures += correlation_measures(fitted.label, mapped, coordinates, scope)
    return measures
