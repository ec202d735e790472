"""Fits the trust gauge of a fitted model."""

from __future__ import annotations

from typing import Any

from hf_stitch.activations.observations import Observations
from hf_stitch.evaluation.answers import trust_distances
from hf_stitch.models.fitted import Fitted
from hf_stitch.stitching.pairing import activation_sets
from hf_stitch.stitching.trust.gauge import TrustGauge

MIN_CALIBRATION_SAMPLES = 50  # calibration samples; with fewer no score falls below 0.02


def fit_trust(fitted: Fitted, observations: Observations) -> dict[str, Any]:
    """Fit a trust gauge for a model and give it to it, as its recipe asks; returns what the report says of it.

    The validation samples calibrate it. Where there are fewer than 50 of them, the fit samples do, each compared with
    the rows of the others, but for `cycle`, which has no others to compare with.

    Raises:
        FitError: no sample can be compared with another.
    """
    recipe, model = fitted.recipe, fitted.model
    if recipe.trust == "none":
        return {}
    with observations.timings.stage("fit.trust"):
        mahalanobis = model.layer.facts.needs_metric and recipe.neighborhoods.kind != "none"
        metric = observations.metric(recipe, "source", fitted.pairing)[0] if mahalanobis else None
        source, target = activation_sets(
            observations.source, observations.target, observations.frames["fit"], fitted.pairing, (metric, None)
        )
        draft = TrustGauge.fit(recipe.trust, model.layer, source, target)
        draft.gauge.to(observations.runtime.device)
        split = (
            "validation"
            if _held_out(observations) >= (1 if recipe.trust == "cycle" else MIN_CALIBRATION_SAMPLES)
            else "fit"
        )
        texts = observations.texts(recipe, split)
        found = trust_distances(
            model, draft, observations.frames[split], texts, observations.runtime, own=split == "fit"
        )
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


def _held_out(observations: Observations) -> int:
    return len(observations.frames["validation"]) if "validation" in observations.frames else 0
