"""What the report tells of the saved model beside its measures: one function a finding."""

from __future__ import annotations

from typing import Any

from hf_stitch.evaluation.answer_kinds.base import References
from hf_stitch.evaluation.error_profile import error_profile
from hf_stitch.evaluation.examples import examples
from hf_stitch.evaluation.invertibility_grid import invertibility_over_grid
from hf_stitch.evaluation.ood_inputs import ood_inputs
from hf_stitch.evaluation.ood_measures import ood_answers
from hf_stitch.evaluation.pictures import pictures
from hf_stitch.evaluation.references import scope_of
from hf_stitch.evaluation.selective import ood_errors, ood_measures
from hf_stitch.evaluation.trust import measure_trust
from hf_stitch.geometry.subsets import evenly_spaced
from hf_stitch.loading.provenance import licence_of
from hf_stitch.models.fitted import Fitted
from hf_stitch.models.tasks import task_of
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.report.measure import Measure
from hf_stitch.stitching.layers.diffusion import SHOWN


def diagnose(fitted: Fitted, references: References | None) -> tuple[list[Measure], dict[str, Any]]:
    """Further measures of a fitted variant that has its answers, and the report's diagnostics.

    Args:
        references: of the test split; None where the recipe has none.
    """
    recipe, seen = fitted.recipe, fitted.observations
    diagnostics: dict[str, Any] = {
        "fits": {fitted.label: dict(fitted.diagnostics)},
        "licences": {"source": licence_of(recipe.source), "target": licence_of(recipe.target)},
        "task": task_of(seen.source, seen.target),
        "warnings": [],
    }
    if fitted.trust is not None:
        diagnostics["trust"] = dict(fitted.trust)
    measures, drawings = invertibility_over_grid(fitted)
    diagnostics |= drawings
    if references is not None:
        found, drawings = _on_test(fitted, references)
        measures, diagnostics = measures + found, diagnostics | drawings
    if (colour := seen.samples["fit"].colour) is not None:
        diagnostics["colour"] = [colour[i] for i in evenly_spaced(len(colour), min(len(colour), SHOWN)).tolist()]
    return measures, diagnostics


def _on_test(fitted: Fitted, references: References) -> tuple[list[Measure], dict[str, Any]]:
    """Errors by class and length, texts, trust, and pictures on the test samples."""
    seen, given = fitted.observations, references.kind.read(fitted.answers["test"])
    keys = seen.samples["test"].keys
    diagnostics = error_profile(references, given, seen.frames["test"].source.lengths.numpy(), keys)
    if texts := examples(references, given, keys):
        diagnostics["written"] = texts
    measures, drawings = _trusted(fitted, references)
    diagnostics |= drawings
    if rows := drawn(fitted, references):
        diagnostics["pictures"] = {"forward": rows}
    return measures, diagnostics


def drawn(fitted: Fitted, references: References) -> dict[str, Any]:
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
