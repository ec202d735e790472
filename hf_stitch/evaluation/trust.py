"""What a stitched model's trust scores are worth on held-out samples."""

from __future__ import annotations

from typing import Any

import numpy as np

from hf_stitch.activations.frames import Answers, Frames
from hf_stitch.evaluation.answer_kinds.base import AnswerKind, Scope
from hf_stitch.evaluation.answers import trust_scores
from hf_stitch.evaluation.selective import error_by_distance, risk_coverage, trust_measures
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.report.measure import Measure
from hf_stitch.runtime.runtime import Runtime
from hf_stitch.stitching.lengths.target_texts import TargetTexts


def measure_trust(
    label: str,
    model: StitchedModel,
    frames: Frames,
    texts: TargetTexts | None,
    answers: Answers,
    kind: AnswerKind,
    scope: Scope,
    runtime: Runtime,
) -> tuple[list[Measure], dict[str, Any], np.ndarray]:
    """Measures, drawings and scores (n,) of a model with a trust gauge on one split.

    Args:
        frames, texts: of that split. answers: the model's there, of this kind.

    Raises:
        ArtifactError: the model has no gauge.
    """
    trust = trust_scores(model, frames, texts, runtime)
    score, errors = trust.score.numpy(), kind.errors(answers, frames.output)
    distance = trust.distances["distance"].numpy()
    drawings = {
        "risk_coverage": risk_coverage(score, errors),
        "error_by_distance": error_by_distance(distance, errors, kind.error == "agreement", scope.seed),
    }
    return trust_measures(label, score, errors, kind.error, scope), drawings, score
