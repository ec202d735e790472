"""The report of a fit, from what its steps returned."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from hf_stitch.evaluation.error_profile import never_right
from hf_stitch.evaluation.examples import texts_cut_off
from hf_stitch.experiments.comparison import Comparison, choose
from hf_stitch.models.companions import in_folder
from hf_stitch.models.cost import cost_of
from hf_stitch.models.fitted import Fitted
from hf_stitch.models.modeling_stitched import padding_notes
from hf_stitch.models.step_by_step import generation_notes
from hf_stitch.recipe.overrides import overrides_between
from hf_stitch.recipe.public import local_names
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.report.diagnostics import Diagnostics
from hf_stitch.report.measure import Measure
from hf_stitch.report.report import Report
from hf_stitch.report.verdict.judge import judge
from hf_stitch.runtime.environment import environment, peak_memory


def make_report(
    asked: Recipe,
    main: Fitted,
    measures: list[Measure],
    diagnostics: Diagnostics,
    comparison: Comparison,
    stamps: Mapping[str, str | None] | None = None,
    folder: Path | None = None,
) -> Report:
    """The report of a recipe whose own method is `main`, without paths of this machine.

    Args:
        stamps: of what it was made, where that is kept. folder: where it is written, if anywhere.
    """
    seen = main.observations
    rivals = [label for label, recipe in asked.variants() if _same_question(asked, recipe)]
    comparable = [label for label in rivals if "@oracle" not in label]  # nobody has the true length at run time
    chosen = choose(measures, comparable)
    warnings = list(diagnostics.warnings or [])
    parameters = cost_of(main.model, seen.source, seen.target, warnings)
    notes = seen.notes + padding_notes(main.model, seen.source.preparer.padding_side)
    notes += generation_notes(main.model.config) + texts_cut_off(seen) + warnings
    if main.diagnostics["dropped_words"]:
        notes.append(f"{main.diagnostics['dropped_words']} words of the fit texts were not recognised and left out")
    if chosen and chosen["method"] != main.label:
        notes.append(_other_is_better(asked, chosen["method"], main.label, comparison))
    report = Report(
        recipe={"name": asked.name, **asked.plain()},
        fingerprint=asked.fingerprint(),
        environment=environment(seen.runtime)
        | ({"stamps": dict(stamps)} if stamps else {})
        | (in_folder(folder) if folder is not None else {}),
        timings=dict(seen.timings),
        memory_peak_bytes=peak_memory(),
        parameters=parameters,
        measures=measures,
        verdict=judge(
            measures,
            main.label,
            asked=asked.plain(),
            rivals=rivals,
            lengths_equal=_lengths_equal(main),
            missed=never_right(diagnostics.error_by_class),
        ),
        chosen=chosen or {"method": main.label, "split": "none", "measure": "the recipe's own"},
        diagnostics=replace(diagnostics, warnings=warnings),
        notes=notes,
    )
    return report.public(local_names(asked.plain()))


def _other_is_better(asked: Recipe, label: str, own: str, comparison: Comparison) -> str:
    """What is told of a variant with a better value on validation than the recipe's own method."""
    words = shlex.join(overrides_between(asked.complete(), dict(asked.variants())[label].complete()))
    saved = f"which is what was saved; `hf-stitch fit` with {words} saves the other"
    if comparison.surely_better(label, own):
        return f"on validation {label} is better than the recipe's {own}, {saved}"
    return f"on validation {label} is not distinguishable from the recipe's {own}, though its value is better, {saved}"


def _lengths_equal(main: Fitted) -> bool:
    frames = main.observations.frames["fit"]
    return bool((frames.source.lengths == frames.target.lengths).all())


def _same_question(asked: Recipe, other: Recipe) -> bool:
    """True where a compared variant maps between the same hook points on the same data, and so is a rival."""
    return (asked.source, asked.target, asked.data) == (other.source, other.target, other.data)
