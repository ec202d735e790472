"""What a stitched model is compared with: the target on its true input, and the controls."""

from __future__ import annotations

import numpy as np

from hf_stitch.activations.observations import Observations
from hf_stitch.evaluation.answer_kinds.base import References, Scope
from hf_stitch.evaluation.answer_kinds.kind_of import kind_of
from hf_stitch.evaluation.answers import recognised, transcripts_of
from hf_stitch.evaluation.controls.context import ControlContext, controls
from hf_stitch.evaluation.target_half import TargetHalf
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.report.measure import Measure


def make_references(
    recipe: Recipe,
    observations: Observations,
    split: str,
    fitted: np.ndarray | None = None,
    half: TargetHalf | None = None,
) -> References:
    """Answers of the references on one split; the controls run here, the target's own answers were collected.

    Args:
        fitted: the target's own answers (n, k) in the fit, or their mean alone, where that was not observed.
        half: the rest of a causal target that is hooked in the middle.
    """
    frames, samples = observations.frames[split], observations.samples[split]
    kind, fit = kind_of(observations.target), observations.frames.get("fit")
    fitted = fitted if fit is None else kind.read(fit.output)
    kind = kind.knowing(fitted)
    own, truth = kind.read(frames.output), kind.truth(samples)
    transcripts = transcripts_of(observations.source, frames)
    if transcripts is None and kind.reads_transcripts and observations.target.preparer.modality == "text":
        transcripts = recognised(observations, split)
    # Of the fit where it is there: a constant that saw the test would be too good.
    constant = kind.chance(own, fitted)
    found = {} if constant is None else {kind.constant: constant}
    context = ControlContext(recipe, observations, split, kind, own, truth, transcripts, half)
    for control in controls():
        found |= control.answers(context)
    spoken = samples.texts
    if spoken is None and "cascade" in found:  # the texts that the target reads are what was said
        spoken = [str(samples.target(i)) for i in range(len(samples))]
    return References(kind, own, found, truth, transcripts, spoken)


def scope_of(recipe: Recipe, observations: Observations, split: str) -> Scope:
    """Where measures of a split belong."""
    return Scope(split, observations.direction, recipe.seed, observations.samples[split].groups)


def reference_measures(recipe: Recipe, observations: Observations, split: str, own: References) -> list[Measure]:
    """Measures of the references on one split."""
    return own.kind.reference_measures(own, scope_of(recipe, observations, split))
