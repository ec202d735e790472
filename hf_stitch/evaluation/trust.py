"""Giving a fitted model its trust gauge, and telling what that is worth."""

from __future__ import annotations

from typing import Any

import numpy as np

from hf_stitch.activations.frames import Answers
from hf_stitch.activations.observations import Observations
from hf_stitch.activations.ragged import Ragged
from hf_stitch.evaluation.answer_kinds.base import Scope
from hf_stitch.evaluation.answer_kinds.texts import GeneratedTexts, likeness
from hf_stitch.evaluation.answers import trust_scores
from hf_stitch.evaluation.ood_measures import ood_answers
from hf_stitch.evaluation.references import References
from hf_stitch.evaluation.selective import (
    Kind,
    error_by_distance,
    ood_errors,
    ood_measures,
    risk_coverage,
    trust_measures,
)
from hf_stitch.models.fitted import Fitted
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.models.tasks import is_classifier
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.report.measure import Measure


def measure_trust(
    fitted: Fitted, observations: Observations, own: References, answers: Answers
) -> tuple[list[Measure], dict[str, Any]]:
    """Measures and drawings of a model's trust scores on the test split; nothing where it has no gauge.

    Args:
        answers: the model's on the test split.
    """
    recipe, model = fitted.recipe, fitted.model
    if model.trust is None:
        return [], {}
    with observations.timings.stage("evaluate.trust"):
        measures, drawings, score = trust_measures_of(model, recipe, fitted.label, observations, own, answers)
        odd = ood_answers(model, recipe, observations)
        classifier = is_classifier(observations.target)
        kind: Kind = "agreement" if classifier else "output_mse"  # of texts the probes tell no errors
        measures += ood_measures(fitted.label, odd, score, kind, observations.direction, recipe.seed)
        drawings["error_by_distance"] += ood_errors(odd, classifier, recipe.seed)
    return measures, drawings


def trust_measures_of(
    model: StitchedModel, recipe: Recipe, label: str, observations: Observations, own: References, answers: Answers
) -> tuple[list[Measure], dict[str, Any], np.ndarray]:
    """Measures, drawings and scores (n,) of a model with a gauge on the test split.

    Args:
        answers: the model's there.
    """
    classifier = is_classifier(observations.target)
    kind: Kind = "agreement" if classifier else "output_mse"
    trust = trust_scores(model, observations.frames["test"], observations.texts(recipe, "test"), observations.runtime)
    score = trust.score.numpy()
    if isinstance(answers, Ragged):
        assert own.script is not None
        kind, errors = "token_agreement", 1 - likeness(GeneratedTexts.of(observations.target, answers), own.script)
    elif classifier:
        errors = answers.argmax(-1).numpy() != own.labels
    else:
        errors = (answers - own.numbers).double().square().mean(1).numpy()
    scope = Scope("test", observations.direction, recipe.seed, observations.samples["test"].groups)  # type: ignore[arg-type]
    measures = trust_measures(label, score, errors, kind, scope)
    distance = trust.distances["distance"].numpy()
    drawings = {
        "risk_coverage": risk_coverage(score, errors),
        "error_by_distance": error_by_distance(distance, errors, classifier, recipe.seed),
    }
    return measures, drawings, score
