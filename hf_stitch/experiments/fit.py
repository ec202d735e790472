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
from hf_stitch.experiments.diagnose import diagnose, pictures_of
from hf_stitch.experiments.make_report import make_report
from hf_stitch.experiments.output_folder import check_output_folder, open_folder, save_model
from hf_stitch.experiments.stamps import Stamps, stamps_of
from hf_stitch.geometry.diffusion.engine import engine
from hf_stitch.models.fitted import Fitted
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.report.diagnostics import Diagnostics
from hf_stitch.report.measure import Measure
from hf_stitch.report.report import Report
from hf_stitch.runtime.progress import Progress
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
    progress: Progress | None = None,
) -> tuple[StitchedModel, Report]:
    """Fit a recipe.

    Args:
        recipe: a Recipe, its keys and values as a mapping, the path of one, or the name of a shipped one.
        out: folder to write; nothing is written when absent. The same fingerprint resumes there or is returned at once.
        overrides: `key=value` words that change the recipe.
        device, dtype: where and in what the two models run; and blocks of the diffusion maps.
        overwrite: fit anew whatever result `out` holds; without it one of other data, models, dtype or (where it is
            given) device is an error.

    Returns:
        The stitched model in eval mode, and the report.

    Raises:
        StitchError: anything that the user can mend; activations already collected are kept and reused.
    """
    asked = Recipe.of(recipe, overrides)
    folder = None if out is None else Path(out)
    stamps = None if folder is None else stamps_of(asked, device, dtype)
    if folder is not None and check_output_folder(folder, asked, stamps, overwrite):
        if progress is not None:
            progress.note(f"{folder}: finished before, nothing done (--overwrite fits it again)")
        return StitchedModel.from_pretrained(folder).eval(), Report.load(folder / "report.json")
    for _, variant in asked.variants():
        engine(variant.stitch.get("engine") or "torch")  # a missing package is told before any work
    torch.manual_seed(asked.seed)
    runtime, timings = Runtime.start(device, dtype, progress), Timings()
    with ExitStack() as held:
        with timings.stage("total"):
            opened = Observations.open(asked, runtime, timings)
            if folder is not None:
                with runtime.together():
                    if runtime.is_main:
                        held.enter_context(_own(folder, asked, stamps, overwrite))
            seen = opened.collect()
            if asked.directions == "both":
                seen.swapped()  # refuses models that cannot be swapped now, not after the fit
            comparison = Comparison(asked, seen)
            main, measures, diagnostics = _fit_all(asked, comparison, folder)
        made_of = stamps and {**stamps, "device": runtime.device.type}
        report = make_report(asked, main, measures, diagnostics, comparison, made_of)
        if folder is not None and runtime.is_main:
            from hf_stitch.report.rendering.write_report import write_report

            write_report(report, folder)
    runtime.wait()
    if folder is not None:
        main.model.name_or_path = main.model.config.name_or_path = str(folder)
    return main.model, report


@contextmanager
def _own(folder: Path, asked: Recipe, stamps: Stamps | None, overwrite: bool) -> Iterator[None]:
    """Hold the folder, opened for this recipe; another fit may have written it since it was looked at."""
    with claimed(folder, lambda interrupted: check_output_folder(folder, asked, stamps, overwrite, interrupted)):
        open_folder(folder, asked)
        yield


def _fit_all(asked: Recipe, comparison: Comparison, folder: Path | None) -> tuple[Fitted, list[Measure], Diagnostics]:
    """The recipe's own method first, so that nothing of it is lost if a comparison fails; then all others."""
    seen = comparison.observations
    main = comparison.fit_saved()
    if folder is not None and seen.runtime.is_main:
        save_model(folder, main.model, seen.source, seen.target)
    main = comparison.answered(main)
    measures = comparison.reference_measures() + comparison.measure(main)
    found, diagnostics = diagnose(main, comparison.references.get("test"))
    measures += found
    fits, warnings = {main.label: dict(main.diagnostics)}, list[str]()
    for label, recipe in asked.variants()[1:]:
        seen.runtime.progress.note(f"comparing with {label}")
        with _kept_going(label, warnings):
            found, fits[label] = _compared(label, recipe, comparison)
            measures += found
    diagnostics = replace(diagnostics, fits=fits)
    if asked.directions == "both":
        found, diagnostics = _backward(asked, comparison.swapped(), diagnostics, warnings)
        measures += found
    return main, measures + group_measures(measures), replace(diagnostics, warnings=warnings)


def _compared(label: str, recipe: Recipe, comparison: Comparison) -> tuple[list[Measure], dict[str, Any]]:
    """One comparison on the same observations, or on its own where it is about other models or data; what it found."""
    runtime, other = comparison.observations.runtime, comparison
    if not comparison.serves(recipe):
        other = Comparison(recipe, Observations.open(recipe, runtime, Timings()).collect())
    fitted = other.answered(other.fit(label, recipe))
    measures = other.measure(fitted)
    if recipe.directions == "both" and other is not comparison:
        back = other.swapped()
        measures += back.measure(back.answered(back.fit(label, recipe)))
    return measures, dict(fitted.diagnostics)


def _backward(
    asked: Recipe, back: Comparison, diagnostics: Diagnostics, warnings: list[str]
) -> tuple[list[Measure], Diagnostics]:
    """The variants that fitted, from target to source; only measured, not saved."""
    measures, pictures = back.reference_measures(), diagnostics.pictures
    for label, recipe in asked.variants():
        if back.serves(recipe) and label in (diagnostics.fits or {}):  # others went both ways by themselves
            with _kept_going(label, warnings, " backward"):
                fitted = back.answered(back.fit(label, recipe))
                measures += back.measure(fitted)
                if label == asked.label and pictures is not None:
                    pictures = {**pictures, "backward": pictures_of(fitted, back.references["test"])}
    return measures, replace(diagnostics, pictures=pictures)


@contextmanager
def _kept_going(label: str, warnings: list[str], where: str = "") -> Iterator[None]:
    """A comparison that cannot be fitted is reported and costs nothing else."""
    try:
        yield
    except StitchError as error:
        warnings.append(f"{label} could not be fitted{where}: {error}")
