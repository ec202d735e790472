"""The cascade: the whole target on what the source recognised."""

from __future__ import annotations

from typing import Any

from hf_stitch.evaluation.answers import text_answers
from hf_stitch.evaluation.controls.context import ControlContext

ORDER = 20  # orders stand ten apart, so that others fit between


def answers(context: ControlContext) -> dict[str, Any]:
    """Where the source writes transcripts and the target reads text."""
    seen, target = context.observations, context.observations.target
    reads = context.kind.reads_transcripts and target.preparer.modality == "text"
    if context.transcripts is None or not reads:
        return {}
    with seen.timings.stage("evaluate.cascade"):
        return {"cascade": context.kind.read(text_answers(target, context.transcripts))}
