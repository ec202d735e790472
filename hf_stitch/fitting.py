"""`fit`: from a recipe to a stitched model and its report. The only place where all the nouns meet."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

from hf_stitch.assembly import count_parameters
from hf_stitch.environment import environment, peak_memory
from hf_stitch.errors import StitchError
from hf_stitch.loading import licence_of
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.output import claim, open_folder, save_model
from hf_stitch.progress import Progress
from hf_stitch.recipe import Recipe, Side
from hf_stitch.references import make_references, reference_measures, task_of
from hf_stitch.report import Measure, Report, judge
from hf_stitch.runtime import Runtime
from hf_stitch.timing import Timings
from hf_stitch.variants import Cutter, Fitted, error_by, fit_variant, measure_variant
from hf_stitch.workbench import Workbench


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
        device, dtype: where and in what the two models run; the map is fitted in float64 on the CPU.

    Returns:
        The stitched model in eval mode, and the report.

    Raises:
        StitchError: anything that the user can mend; activations already collected are kept and reused.
    """
    asked = recipe if isinstance(recipe, Recipe) else Recipe.load(recipe, overrides)
    folder = None if out is None else Path(out)
    if folder is not None and claim(folder, asked):
        return StitchedModel.from_pretrained(folder).eval(), Report.load(folder / "report.json")
    torch.manual_seed(asked.seed)
    runtime, timings = Runtime.start(device, dtype, progress), Timings()
    with timings.stage("total"):
        bench = Workbench.open(asked, runtime, timings)
        if folder is not None and runtime.is_main:
            open_folder(folder, asked)
        bench.collect()
        if asked.directions == "both":
            bench.swapped()  # refuses models that cannot be swapped now, not after the fit
        main, measures, diagnostics = _fit_all(asked, bench, folder)
    report = _report(asked, bench, main, measures, diagnostics)
    if folder is not None and runtime.is_main:
        from hf_stitch.reporting.write import write_report

        write_report(report, folder)
    runtime.wait()
    return main.model, report


def _fit_all(asked: Recipe, bench: Workbench, folder: Path | None) -> tuple[Fitted, list[Measure], dict[str, Any]]:
    """The recipe's own method first, so that nothing of it is lost if a comparison fails; then all others."""
    variants = asked.variants()
    cutter = Cutter(bench)
    main = fit_variant(*variants[0], bench, cutter)
    if folder is not None and bench.runtime.is_main:
        save_model(folder, main.model, bench.source, bench.target)
    references = {split: make_references(bench, split) for split in bench.frames if split != "fit"}
    measures = [m for split, own in references.items() for m in reference_measures(bench, split, own)]
    measures += measure_variant(main, bench, references)
    diagnostics: dict[str, Any] = {
        "fits": {main.label: main.diagnostics},
        "licences": {side: licence_of(end) for side, end in _ends(asked)},
        "task": task_of(bench.source, bench.target),
    }
    if "test" in references:
        diagnostics.update(error_by(main, bench, references["test"]))
    for label, recipe in variants[1:]:
        bench.runtime.progress.note(f"comparing with {label}")
        try:
            found, facts = _compare(label, recipe, bench, cutter, references)
        except StitchError as error:
            diagnostics.setdefault("warnings", []).append(f"{label} could not be fitted: {error}")
            continue
        measures += found
        diagnostics["fits"][label] = facts
    if asked.directions == "both":
        measures += _backward(asked, bench, diagnostics)
    return main, measures + _medians(measures), diagnostics


def _ends(asked: Recipe) -> list[tuple[str, Side]]:
    return [("source", asked.source), ("target", asked.target)]


def _compare(
    label: str, recipe: Recipe, bench: Workbench, cutter: Cutter, references: dict[str, Any]
) -> tuple[list[Measure], dict[str, Any]]:
    """Fit and measure one entry of `compare`; one with other models or data gets a bench of its own."""
    if (recipe.source, recipe.target, recipe.data) == (bench.recipe.source, bench.recipe.target, bench.recipe.data):
        fitted = fit_variant(label, recipe, bench, cutter)
        return measure_variant(fitted, bench, references), fitted.diagnostics
    other = Workbench.open(recipe, bench.runtime, Timings()).collect()
    fitted = fit_variant(label, recipe, other, Cutter(other))
    own = {split: make_references(other, split) for split in other.frames if split != "fit"}
    measures = measure_variant(fitted, other, own)
    if recipe.directions == "both":
        measures += _one_way_back(label, recipe, other)
    return measures, fitted.diagnostics


def _backward(asked: Recipe, bench: Workbench, diagnostics: dict[str, Any]) -> list[Measure]:
    """The variants that fitted, from target to source; only measured, not saved."""
    back = bench.swapped()
    references = {split: make_references(back, split) for split in back.frames if split != "fit"}
    measures = [m for split, own in references.items() for m in reference_measures(back, split, own)]
    cutter = Cutter(back)
    for label, recipe in asked.variants():
        same = (recipe.source, recipe.target, recipe.data) == (asked.source, asked.target, asked.data)
        if not same or label not in diagnostics["fits"]:  # others went both ways on benches of their own
            continue
        try:
            measures += measure_variant(fit_variant(label, recipe, back, cutter), back, references)
        except StitchError as error:
            diagnostics.setdefault("warnings", []).append(f"{label} could not be fitted backward: {error}")
    return measures


def _one_way_back(label: str, recipe: Recipe, bench: Workbench) -> list[Measure]:
    back = bench.swapped()
    references = {split: make_references(back, split) for split in back.frames if split != "fit"}
    return measure_variant(fit_variant(label, recipe, back, Cutter(back)), back, references)


def _medians(measures: Sequence[Measure]) -> list[Measure]:
    """For `compare` entries named `group/member`: the median over the members as `group/median`, with their range."""
    groups: dict[tuple[str, str, str, str], list[Measure]] = {}
    for m in measures:
        if "/" in m.method and m.value is not None:
            groups.setdefault((m.method.split("/")[0], m.name, m.split, m.direction), []).append(m)
    found = []
    for (group, *_), members in groups.items():
        values = sorted(m.value for m in members if m.value is not None)
        if len(values) > 1:
            found.append(
                dataclasses.replace(
                    members[0],
                    method=f"{group}/median",
                    value=median(values),
                    low=values[0],
                    high=values[-1],
                    n=len(values),
                )
            )
    return found


def choose(measures: Sequence[Measure], labels: Sequence[str]) -> dict[str, str] | None:
    """The method that is best on validation; None where there is no validation split."""
    for name, sign in (("agreement", 1), ("output_mse", -1)):
        found = [
            m
            for m in measures
            if (m.name, m.split, m.direction) == (name, "validation", "forward")
            and m.method in labels
            and m.value is not None
        ]
        if found:
            best = max(
                found, key=lambda m: sign * (m.value or 0.0)
            )  # the first of equals: the recipe's own comes first
            return {"method": best.method, "split": "validation", "measure": name}
    return None


def _report(
    asked: Recipe, bench: Workbench, main: Fitted, measures: list[Measure], diagnostics: dict[str, Any]
) -> Report:
    labels = [label for label, _ in asked.variants()]
    comparable = [label for label in labels if "@oracle" not in label]  # nobody has the true length at run time
    chosen = choose(measures, comparable)
    notes = [note for samples in bench.samples.values() for note in samples.notes]
    notes += diagnostics.get("warnings", [])
    if main.diagnostics["dropped_words"]:
        notes.append(f"{main.diagnostics['dropped_words']} words of the fit texts were not recognised and left out")
    if chosen and chosen["method"] != main.label:
        notes.append(
            f"on validation {chosen['method']} is better than the recipe's {main.label}, which is what was saved; "
            "change `stitch:` to save the other"
        )
    return Report(
        recipe={"name": asked.name, **asked.plain()},
        fingerprint=asked.fingerprint(),
        environment=environment(bench.runtime),
        timings=dict(bench.timings),
        memory_peak_bytes=peak_memory(),
        parameters=count_parameters(main.model, bench.source, bench.target),
        measures=measures,
        verdict=judge(measures, main.label),
        chosen=chosen or {"method": main.label, "split": "none", "measure": "the recipe's own"},
        diagnostics=diagnostics,
        notes=notes,
    )
