"""Giving a fitted model its trust gauge, and telling what that is worth."""

from __future__ import annotations

from typing import Any

import numpy as np

from hf_stitch.answers import trust_distances, trust_scores
from hf_stitch.collection import Answers
from hf_stitch.measuring import Scope
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.pairing import activation_sets
from hf_stitch.probing import probed
from hf_stitch.ragged import Ragged
from hf_stitch.recipe import Recipe
from hf_stitch.references import References, is_classifier
from hf_stitch.report import Measure
from hf_stitch.risk import Kind, error_by_distance, probe_errors, probe_measures, risk_coverage, trust_measures
from hf_stitch.scripts import Script, likeness
from hf_stitch.stitching.diffusion import DiffusionLayer
from hf_stitch.stitching.trust import TrustGauge
from hf_stitch.variants import Fitted
from hf_stitch.workbench import Workbench

FEWEST = 50  # calibration samples; with fewer no score falls below 0.02


def give_trust(fitted: Fitted, bench: Workbench) -> dict[str, Any]:
    """Fit a trust gauge for a model and give it to it, as its recipe asks; returns what the report says of it.

    The validation samples calibrate it. Where there are fewer than 50 of them, the fit samples do, each compared with
    the rows of the others, but for `cycle`, which has no others to compare with.

    Raises:
        FitError: no sample can be compared with another.
    """
    recipe, model = fitted.recipe, fitted.model
    if recipe.trust == "none":
        return {}
    with bench.timings.stage("fit.trust"):
        mahalanobis = isinstance(model.layer, DiffusionLayer) and recipe.neighborhoods.kind != "none"
        metric = bench.metric(recipe, "source", fitted.pairing)[0] if mahalanobis else None
        source, target = activation_sets(
            bench.source, bench.target, bench.frames["fit"], fitted.pairing, (metric, None)
        )
        draft = TrustGauge.fit(recipe.trust, model.layer, source, target)
        draft.gauge.to(bench.runtime.device)
        split = "validation" if _held_out(bench) >= (1 if recipe.trust == "cycle" else FEWEST) else "fit"
        texts = bench.texts(recipe, split)
        found = trust_distances(model, draft, bench.frames[split], texts, bench.runtime, own=split == "fit")
        gauge = draft.calibrated(found)
        model.with_trust(gauge)
    known = gauge.get_buffer("calibration")
    return {
        "method": gauge.method,
        "ingredients": list(gauge.ingredients),
        "calibrated_on": split if split == "validation" else "fit, each sample against the others",
        "samples": len(known),
        "smallest": gauge.smallest,
        "rows": len(gauge.get_buffer("source_points")),
        "median": dict(zip(gauge.ingredients, known.quantile(0.5, dim=0, interpolation="lower").tolist())),
    }


def trust_found(
    fitted: Fitted, bench: Workbench, own: References, answers: Answers
) -> tuple[list[Measure], dict[str, Any]]:
    """Measures and drawings of a model's trust scores on the test split; nothing where it has no gauge.

    Args:
        answers: the model's on the test split.
    """
    recipe, model = fitted.recipe, fitted.model
    if model.trust is None:
        return [], {}
    with bench.timings.stage("evaluate.trust"):
        measures, drawings, score = trust_of(model, recipe, fitted.label, bench, own, answers)
        odd = probed(model, recipe, bench)
        classifier = is_classifier(bench.target)
        kind: Kind = "agreement" if classifier else "output_mse"  # of texts the probes tell no errors
        measures += probe_measures(fitted.label, odd, score, kind, bench.direction, recipe.seed)
        drawings["error_by_distance"] += probe_errors(odd, classifier, recipe.seed)
    return measures, drawings


def trust_of(
    model: StitchedModel, recipe: Recipe, label: str, bench: Workbench, own: References, answers: Answers
) -> tuple[list[Measure], dict[str, Any], np.ndarray]:
    """Measures, drawings and scores (n,) of a model with a gauge on the test split.

    Args:
        answers: the model's there.
    """
    classifier = is_classifier(bench.target)
    kind: Kind = "agreement" if classifier else "output_mse"
    trust = trust_scores(model, bench.frames["test"], bench.texts(recipe, "test"), bench.runtime)
    score = trust.score.numpy()
    if isinstance(answers, Ragged):
        assert own.script is not None
        kind, errors = "token_agreement", 1 - likeness(Script.of(bench.target, answers), own.script)
    elif classifier:
        errors = answers.argmax(-1).numpy() != own.labels
    else:
        errors = (answers - own.numbers).double().square().mean(1).numpy()
    scope = Scope("test", bench.direction, recipe.seed, bench.samples["test"].groups)  # type: ignore[arg-type]
    measures = trust_measures(label, score, errors, kind, scope)
    distance = trust.distances["distance"].numpy()
    drawings = {
        "risk_coverage": risk_coverage(score, errors),
        "error_by_distance": error_by_distance(distance, errors, classifier, recipe.seed),
    }
    return measures, drawings, score


def _held_out(bench: Workbench) -> int:
    return len(bench.frames["validation"]) if "validation" in bench.frames else 0
