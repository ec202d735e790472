"""`fit`: from a recipe to a stitched model and its report. The only place where all the nouns meet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from hf_stitch.activations.observations import Observations
from hf_stitch.errors import StitchError
from hf_stitch.evaluation.answers import stitched_answers
from hf_stitch.evaluation.error_profile import error_profile
from hf_stitch.evaluation.examples import examples
from hf_stitch.evaluation.group_medians import together
from hf_stitch.evaluation.invertibility_grid import invertibility_over_grid
from hf_stitch.evaluation.pictures import pictures
from hf_stitch.evaluation.trust import measure_trust
from hf_stitch.experiments.comparison import Comparison
from hf_stitch.experiments.fit_trust import fit_trust
from hf_stitch.experiments.make_report import _report
from hf_stitch.experiments.output_folder import check_output_folder, open_folder, save_model
from hf_stitch.geometry.diffusion.engine import engine
from hf_stitch.geometry.subsets import evenly_spaced
from hf_stitch.loading.provenance import licence_of
from hf_stitch.models.fitted import Fitted
from hf_stitch.models.hub.map_only import MAP_ONLY, pin_revisions
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.models.tasks import task_of
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.report.measure import Measure
from hf_stitch.report.report import Report
from hf_stitch.runtime.progress import Progress
from hf_stitch.runtime.runtime import Runtime
from hf_stitch.runtime.timings import Timings
from hf_stitch.stitching.layers.diffusion import SHOWN


def fit(
    recipe: Recipe | str | Path,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    *,
    device: str | None = None,
    dtype: str | None = None,
    progress: Progress | None = None,
) -> tuple[StitchedModel, Report]:
    """Fit a recipe.

    Args:
        recipe: a Recipe, the path of one, or the name of a shipped one.
        out: folder to write; nothing is written when absent. The same fingerprint resumes there or is returned at once.
        overrides: `key=value` words for a recipe given by path or name.
        device, dtype: where and in what the two models run; and blocks of the diffusion maps.

    Returns:
        The stitched model in eval mode, and the report.

    Raises:
        StitchError: anything that the user can mend; activations already collected are kept and reused.
    """
    asked = recipe if isinstance(recipe, Recipe) else Recipe.load(recipe, overrides)
    folder = None if out is None else Path(out)
    if folder is not None and check_output_folder(folder, asked):
        return StitchedModel.from_pretrained(folder).eval(), Report.load(folder / "report.json")
    for _, variant in asked.variants():
        engine(variant.stitch.get("engine") or "torch")  # a missing package is told before any work
    torch.manual_seed(asked.seed)
    runtime, timings = Runtime.start(device, dtype, progress), Timings()
    with timings.stage("total"):
        observations = Observations.open(asked, runtime, timings)
        if folder is not None and runtime.is_main:
            open_folder(folder, asked)
        observations.collect()
        if asked.directions == "both":
            observations.swapped()  # refuses models that cannot be swapped now, not after the fit
        main, measures, diagnostics = _fit_all(asked, observations, folder)
    report = _report(asked, observations, main, measures, diagnostics)
    if folder is not None and runtime.is_main:
        from hf_stitch.report.rendering.write_report import write_report

        write_report(report, folder)
    runtime.wait()
    if folder is not None:
        main.model.name_or_path = main.model.config.name_or_path = str(folder)
    return main.model, report


def _fit_all(
    asked: Recipe, observations: Observations, folder: Path | None
) -> tuple[Fitted, list[Measure], dict[str, Any]]:
    """The recipe's own method first, so that nothing of it is lost if a comparison fails; then all others."""
    (label, recipe), *others = asked.variants()
    comparison = Comparison(observations)
    main = comparison.fit(label, recipe)
    main.model.config.fingerprint = asked.fingerprint()  # of all that was asked, comparisons included
    trust = fit_trust(main, observations)
    if recipe.save == MAP_ONLY:
        pin_revisions(main.model.config, main.model.prefix, main.model.suffix)
    if folder is not None and observations.runtime.is_main:
        save_model(folder, main.model, observations.source, observations.target)
    measures = comparison.reference_measures() + comparison.measure(main)
    diagnostics: dict[str, Any] = {
        "fits": {main.label: main.diagnostics},
        "licences": {"source": licence_of(asked.source), "target": licence_of(asked.target)},
        "task": task_of(observations.source, observations.target),
        "warnings": [],
    }
    if trust:
        diagnostics["trust"] = trust
    found, drawings = invertibility_over_grid(main, observations)
    measures, diagnostics = measures + found, diagnostics | drawings
    if "test" in comparison.references:
        own = comparison.references["test"]
        answers = stitched_answers(
            main.model, observations.frames["test"], observations.texts(recipe, "test"), observations.runtime
        )
        diagnostics.update(error_profile(observations, own, answers))
        if written := examples(observations, own, answers):
            diagnostics["written"] = written
        found, drawings = measure_trust(main, observations, own, answers)
        measures, diagnostics = measures + found, diagnostics | drawings
        if drawn := pictures(main.model, main.recipe, observations, comparison.references["test"]):
            diagnostics["pictures"] = {"forward": drawn}
    if (colour := observations.samples["fit"].colour) is not None:
        diagnostics["colour"] = [colour[i] for i in evenly_spaced(len(colour), min(len(colour), SHOWN)).tolist()]
    for label, recipe in others:
        observations.runtime.progress.note(f"comparing with {label}")
        with _kept_going(label, diagnostics):
            other = (
                comparison
                if comparison.serves(recipe)
                else Comparison(Observations.open(recipe, observations.runtime, Timings()).collect())
            )
            fitted = other.fit(label, recipe)
            measures += other.measure(fitted)
            diagnostics["fits"][label] = fitted.diagnostics
            if recipe.directions == "both" and other is not comparison:
                back = other.swapped()
                measures += back.measure(back.fit(label, recipe))
    if asked.directions == "both":
        measures += _backward(asked, comparison.swapped(), diagnostics)
    return main, measures + together(measures), diagnostics


def _backward(asked: Recipe, back: Comparison, diagnostics: dict[str, Any]) -> list[Measure]:
    """The variants that fitted, from target to source; only measured, not saved."""
    measures = back.reference_measures()
    for label, recipe in asked.variants():
        if back.serves(recipe) and label in diagnostics["fits"]:  # others went both ways on benches of their own
            with _kept_going(label, diagnostics, " backward"):
                fitted = back.fit(label, recipe)
                measures += back.measure(fitted)
                if label == asked.label and "pictures" in diagnostics:
                    drawn = pictures(fitted.model, recipe, back.observations, back.references["test"])
                    diagnostics["pictures"]["backward"] = drawn
    return measures


@contextmanager
def _kept_going(label: str, diagnostics: dict[str, Any], where: str = "") -> Iterator[None]:
    """A comparison that cannot be fitted is reported and costs nothing else."""
    try:
        yield
    except StitchError as error:
        diagnostics["warnings"].append(f"{label} could not be fitted{where}: {error}")
