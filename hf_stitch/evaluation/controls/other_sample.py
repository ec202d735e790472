"""To each sample the answer to another one: what agreement comes of texts being alike at all."""

from __future__ import annotations

from typing import Any

from hf_stitch.evaluation.answer_kinds.texts import Texts, others
from hf_stitch.evaluation.controls.context import ControlContext

ORDER = 10


def answers(context: ControlContext) -> dict[str, Any]:
    """Of texts alone: of few classes another sample's answer is often the same."""
    return {"other-sample": others(context.own, context.recipe.seed)} if isinstance(context.kind, Texts) else {}
