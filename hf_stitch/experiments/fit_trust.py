"""Fits the trust gauge of a stitched model."""

from __future__ import annotations

from typing import Any

from hf_stitch.evaluation.answers import trust_distances
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.stitching.correspondence import Correspondence
from hf_stitch.stitching.trust.gauge import TrustGauge

MIN_CALIBRATION_SAMPLES = 50  # n samples give no score below 1 / (n + 1): with fewer none falls below 0.02


def fit_trust(model: StitchedModel, correspondence: Correspondence) -> dict[str, Any] | None:
    """Fit a trust gauge and give it to the model, as the recipe asks; returns what the report says of it.

    The validation samples calibrate it. Where there are fewer than 50 of them, the fit samples do, each compared with
    the rows of the others, but for `cycle`, which has no others to compare with.

    Raises:
        FitError: no sample can be compared with another.
    """
    recipe, seen = correspondence.recipe, correspondence.observations
    if recipe.trust == "none":
        return None
    with seen.timings.stage("fit.trust"):
        mahalanobis = model.layer.facts.needs_metric and recipe.neighborhoods.kind != "none"
        metric = correspondence.metric("source")[0] if mahalanobis else None
        draft = TrustGauge.fit(recipe.trust, model.layer, *correspondence.rows("fit", (metric, None)))
        draft.gauge.to(seen.runtime.device)
        held_out = len(seen.frames["validation"]) if "validation" in seen.frames else 0
        # Of the fit's own rows distances are too small, and a map comes back too well: the fit is the second choice.
        split = "validation" if held_out >= (1 if recipe.trust == "cycle" else MIN_CALIBRATION_SAMPLES) else "fit"
        texts = correspondence.texts(split)
        found = trust_distances(model, draft, seen.frames[split], texts, seen.runtime, own=split == "fit")
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
        # "lower": distances may be infinite, between which there is no middle.
        "median": dict(zip(gauge.ingredients, known.quantile(0.5, dim=0, interpolation="lower").tolist())),
    }
