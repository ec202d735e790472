"""`fit`: from a recipe to a stitched model and its report. The only place where all the nouns meet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from hf_stitch.activations.observations import Observations
from hf_stitch.errors import StitchError
from hf_stitch.evaluation.group_medians import group_measures
from hf_stitch.experiments.claim import claimed
from hf_stitch.experiments.comparison import Comparison
from hf_stitch.experiments.diagnose import diagnose
from hf_stitch.experiments.finished_rows import FinishedRows
from hf_stitch.experiments.make_report import make_report
from hf_stitch.experiments.output_folder import check_output_folder, open_folder
from hf_stitch.experiments.stamps import Stamps, stamps_of
from hf_stitch.experiments.variants import backward, compared, own_comparison, saved_variant
from hf_stitch.geometry.diffusion.engine import engine
from hf_stitch.hooks.trace import MakeInputs
from hf_stitch.loading.objects.held import NOTHING, Objects
from hf_stitch.loading.quiet import quiet
from hf_stitch.models.companions import Companions
from hf_stitch.models.fitted import Fitted
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.recipe.side import SIDES, Role
from hf_stitch.report.diagnostics import Diagnostics
from hf_stitch.report.measure import Measure
from hf_stitch.report.report import Report
from hf_stitch.runtime.progress import Progress
from hf_stitch.runtime.progress_bars import chosen
from hf_stitch.runtime.runtime import Runtime
from hf_stitch.runtime.timings import Timings


def fit(
    recipe: Recipe | Mapping[str, Any] | str | Path,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    *,
    device: str | None = None,
    dtype: str | None = None,
    overwrite: bool = False,
    progress: Progress | bool | None = None,
    make_inputs: Mapping[Role, MakeInputs] | None = None,
    objects: Objects = NOTHING,
) -> tuple[StitchedModel, Report]:
    """Fit a recipe.

    Args:
        recipe: a Recipe, its keys and values as a mapping, the path of one, or the name of a shipped one.
        out: folder to write; nothing is written when absent. The same fingerprint resumes there or is returned at once.
        overrides: `key=value` words that change the recipe.
        device, dtype: where and in what the two models run; and blocks of the diffusion maps.
        progress: True and False show on stderr how far the fit is, or do not; absent: shown, unless transformers' or
            datasets' bars are switched off. Or an object that is told.
        overwrite: fit anew whatever result `out` holds; without it one of other data, models, dtype or (where it is
            given) device is an error.
        make_inputs: for `source`, `target` or both a function (batch, length) -> keyword arguments by which the model
            is probed, where the recipe's `inputs` cannot say what it takes.
        objects: models and rows in memory that the recipe names (`memory:...`); `stitch` makes both.

    Returns:
        The stitched model in eval mode, and the report.

    Raises:
        StitchError: anything that the user can mend. What is finished by then is kept for the same call: activations,
            and in `out` the saved model and rows of the comparison.
    """
    asked, shown = Recipe.of(recipe, overrides), chosen(progress)
    folder = None if out is None else Path(out)
    stamps = stamps_of(asked, device, dtype, objects)
    if folder is not None and check_output_folder(folder, asked, stamps, overwrite):
        shown.note(f"{folder}: finished before, nothing done (--overwrite fits it again)")
        with quiet():
            return _finished(folder, asked, objects), Report.load(folder / "report.json")
    for _, variant in asked.variants():
        engine(variant.stitch.get("engine") or "torch")  # a missing package is told before any work
    torch.manual_seed(asked.seed)
    runtime, timings = Runtime.start(device, dtype, shown), Timings()
    with ExitStack() as held:
        with timings.stage("total"):
            opened = Observations.open(asked, runtime, timings, make_inputs=make_inputs, objects=objects)
            if folder is not None:
                with runtime.together():
                    if runtime.is_main:
                        held.enter_context(_own(folder, asked, stamps, overwrite))
            seen = opened.collect()
            if asked.directions == "both":
                seen.swapped()  # refuses models that cannot be swapped now, not after the fit
            made_of = {**stamps, "device": runtime.device.type}
            rows = _rows(folder, asked, seen, made_of)
            comparison = Comparison(asked, seen)
            main, measures, diagnostics = _fit_all(asked, comparison, rows, folder)
        report = make_report(asked, main, measures, diagnostics, comparison, made_of, folder)
        if folder is not None and runtime.is_main:
            from hf_stitch.report.rendering.write_report import write_report

            write_report(report, folder)
            rows.clear()
    runtime.wait()
    if folder is None:
        # They lie nowhere yet: whoever saves the model gets the folder that `out` would have given.
        beside = Companions.of(main.model, seen.source, seen.target)
        main.model.companions = replace(beside, recipe=asked, report=report)
    else:
        main.model.name_or_path = main.model.config.name_or_path = str(folder)
    return main.model, report


def _finished(folder: Path, asked: Recipe, objects: Objects) -> StitchedModel:
    """The model of a fit that was finished before."""
    given = {role: objects.models.get(getattr(asked, role).model) for role in SIDES}
    built = {role: one.held for role, one in given.items() if one is not None and not one.built}
    found: StitchedModel = StitchedModel.from_pretrained(folder, **built)
    return found.eval()


@contextmanager
def _own(folder: Path, asked: Recipe, stamps: Stamps | None, overwrite: bool) -> Iterator[None]:
    """Hold the folder, opened for this recipe; another fit may have written it since it was looked at."""
    with claimed(folder, lambda interrupted: check_output_folder(folder, asked, stamps, overwrite, interrupted)):
        open_folder(folder, asked, anew=overwrite)
        yield


def _rows(folder: Path | None, asked: Recipe, seen: Observations, stamps: Stamps | None) -> FinishedRows:
    """The rows that a fit of the same recipe on the same data and models finished in this folder before it stopped."""
    known = stamps or {}
    collected = {split: frames.key for split, frames in seen.frames.items()}  # with the versions of what computes them
    unsure = [
        label
        for label, _ in asked.variants()
        if any(stamp is None for name, stamp in known.items() if name.startswith(f"{label}: "))
    ]
    made_of = {"fingerprint": asked.fingerprint(), "stamps": known, "activations": collected}
    return FinishedRows(folder, made_of, seen.runtime, unsure)


def _fit_all(
    asked: Recipe, comparison: Comparison, rows: FinishedRows, folder: Path | None
) -> tuple[Fitted, list[Measure], Diagnostics]:
    """The recipe's own method first, so that nothing of it is lost if a comparison fails; then all others."""
    main, own = saved_variant(comparison, rows, folder)
    measures = comparison.reference_measures() + own
    found, diagnostics = diagnose(main, comparison.references.get("test"))
    measures += found
    fits, warnings = {main.label: dict(main.diagnostics)}, list(diagnostics.warnings or [])
    for label, recipe in asked.variants()[1:]:
        there = own_comparison(recipe, comparison)
        with _kept_going(label, warnings):
            row = compared(label, recipe, comparison, there, rows)
            measures, fits[label] = measures + row.measures, row.fit
        if recipe.directions == "both" and label in fits and not comparison.serves(recipe):
            with _kept_going(label, warnings, " backward"):
                measures += backward(label, recipe, there().swapped(), rows, drawn=False).measures
    diagnostics = replace(diagnostics, fits=fits)
    if asked.directions == "both":
        found, diagnostics = _backward(asked, comparison.swapped(), diagnostics, rows, warnings)
        measures += found
    return main, measures + group_measures(measures), replace(diagnostics, warnings=warnings)


def _backward(
    asked: Recipe, back: Comparison, diagnostics: Diagnostics, rows: FinishedRows, warnings: list[str]
) -> tuple[list[Measure], Diagnostics]:
    """The variants that fitted, from target to source; only measured, not saved."""
    measures, pictures = back.reference_measures(), diagnostics.pictures
    for label, recipe in asked.variants():
        if back.serves(recipe) and label in (diagnostics.fits or {}):  # others went both ways by themselves
            with _kept_going(label, warnings, " backward"):
                row = backward(label, recipe, back, rows, drawn=label == asked.label and pictures is not None)
                measures += row.measures
                if pictures is not None and row.pictures is not None:
                    pictures = {**pictures, "backward": row.pictures}
    return measures, replace(diagnostics, pictures=pictures)


@contextmanager
def _kept_going(label: str, warnings: list[str], where: str = "") -> Iterator[None]:
    """A comparison that cannot be fitted is reported and costs nothing else."""
    try:
        yield
    except StitchError as error:
        warnings.append(f"{label} could not be fitted{where}: {error}")
