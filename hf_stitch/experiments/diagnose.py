"""What the report tells of the saved model beside its measures: one function a finding."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hf_stitch.evaluation.answer_kinds.base import References
from hf_stitch.evaluation.error_profile import error_profile
from hf_stitch.evaluation.examples import examples
from hf_stitch.evaluation.failures import failures
from hf_stitch.evaluation.invertibility_grid import invertibility_over_grid
from hf_stitch.evaluation.ood_inputs import ood_inputs
from hf_stitch.evaluation.ood_measures import ood_answers
from hf_stitch.evaluation.pictures import pictures
from hf_stitch.evaluation.references import scope_of
from hf_stitch.evaluation.selective import ood_errors, ood_measures
from hf_stitch.evaluation.trust import measure_trust
from hf_stitch.geometry.subsets import SHOWN, evenly_spaced
from hf_stitch.loading.provenance import licence_of
from hf_stitch.models.fitted import Fitted
from hf_stitch.models.tasks import continues, in_steps, tag_of, tasks_of
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.report.diagnostics import Diagnostics
from hf_stitch.report.measure import Measure
from hf_stitch.runtime.extras import extra


def diagnose(fitted: Fitted, references: References | None) -> tuple[list[Measure], Diagnostics]:
    """Further measures of a fitted variant that has its answers, and what the report tells of it beside them.

    None of it is the result: what cannot be found is a warning.

    Args:
        references: of the test split; None where the recipe has none.
    """
    recipe, seen = fitted.recipe, fitted.observations
    measures, drawings, warnings = list[Measure](), dict[str, Any](), list[str]()
    with extra("invertibility", warnings):
        measures, drawings = invertibility_over_grid(fitted)
    diagnostics = Diagnostics(
        licences={"source": licence_of(recipe.source), "target": licence_of(recipe.target)},
        task=tag_of(fitted.model.config) or "",  # none fits; reports of 0.1.0 did not say,
        usage=_usage(fitted),
        trust=None if fitted.trust is None else dict(fitted.trust),
        jacobian=drawings.get("jacobian"),
        warnings=warnings,
    )
    with extra("colours of the points", warnings):
        diagnostics = replace(diagnostics, colour=_colour(fitted))
    if references is None:
        return measures, diagnostics
    given, frames, keys = references.kind.read(fitted.answers["test"]), seen.frames["test"], seen.samples["test"].keys
    with extra("errors by class and length", warnings):
        profile = error_profile(references, given, frames.source.lengths.numpy(), keys)
        diagnostics = replace(diagnostics, **profile)
    with extra("what the trust scores are worth", warnings):
        found, trusted = _trusted(fitted, references)
        measures, diagnostics = measures + found, replace(diagnostics, **trusted)
    with extra("examples", warnings):
        diagnostics = replace(diagnostics, written=examples(references, given, keys) or None)
    with extra("pictures", warnings):
        rows = pictures_of(fitted, references)
        diagnostics = replace(diagnostics, pictures={"forward": rows} if rows else None)
    with extra("failing samples", warnings):
        diagnostics = replace(diagnostics, failures=failures(fitted, references))
    return measures, diagnostics


def _usage(fitted: Fitted) -> dict[str, Any]:
    """How the saved model is asked."""
    model, preparer = fitted.model, fitted.observations.source.preparer
    if model.rule.needs_times or model.rule.state.target_length == "oracle":
        return {}
    if in_steps(model.config) and not continues(model.config):  # it generates nothing
        return {}
    known = {"width": preparer.width, "rate": preparer.rate if preparer.modality == "audio" else None}
    asked = {"takes": preparer.modality, "pipeline": tasks_of(model.config)[-1]}
    if in_steps(model.config):
        known["cache"] = model.config.ends["suffix"]["cache"]  # what generation keeps from step to step
    return asked | {key: value for key, value in known.items() if value is not None}


def _colour(fitted: Fitted) -> list[float] | None:
    """A number of the fit samples whose coordinates are drawn, where the data have one."""
    colour = fitted.observations.samples["fit"].colour
    return None if colour is None else [colour[i] for i in evenly_spaced(len(colour), min(len(colour), SHOWN)).tolist()]


def pictures_of(fitted: Fitted, references: References) -> dict[str, Any]:
    """Pictures of some test samples; empty where the answers are none."""
    seen = fitted.observations
    return pictures(fitted.model, seen.samples["test"], seen.frames["test"], fitted.answers["test"], references)


def _trusted(fitted: Fitted, references: References) -> tuple[list[Measure], dict[str, Any]]:
    """Measures and drawings of the trust scores, on the test and on inputs of other kinds; nothing without a gauge."""
    model, recipe, seen, kind = fitted.model, fitted.recipe, fitted.observations, references.kind
    if model.trust is None:
        return [], {}
    scope = scope_of(recipe, seen, "test")
    with seen.timings.stage("evaluate.trust"):
        texts, answers = fitted.correspondence.texts("test"), fitted.answers["test"]
        measures, drawings, score = measure_trust(
            fitted.label, model, seen.frames["test"], texts, answers, kind, scope, seen.runtime
        )
        inputs = ood_inputs(seen.source.preparer, seen.samples["test"], seen.samples["fit"], recipe.seed)
        odd = ood_answers(model, inputs, seen.source, seen.target, kind, _one_input(recipe), seen.runtime)
        # Errors on inputs that nobody labelled are told of classes and numbers alone; there each has its own measure.
        told = kind.error if kind.error != "token_agreement" else "output_mse"
        measures += ood_measures(fitted.label, odd, score, told, seen.direction, recipe.seed)
        drawings["error_by_distance"] += ood_errors(odd, kind.error == "agreement", recipe.seed)
    return measures, drawings


def _one_input(recipe: Recipe) -> bool:
    """True where both models read the same column, so that the target's own answer to any input can be had."""
    columns = (recipe.data.test or recipe.data.fit).columns
    return columns.target in (None, columns.source)
