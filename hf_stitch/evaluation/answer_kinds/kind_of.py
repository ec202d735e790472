"""Which kind of answers a target gives."""

from __future__ import annotations

from hf_stitch.activations.aligned_tokens import in_the_middle
from hf_stitch.activations.hooked_model import HookedModel
from hf_stitch.evaluation.answer_kinds.base import AnswerKind
from hf_stitch.evaluation.answer_kinds.classes import Classes
from hf_stitch.evaluation.answer_kinds.next_tokens import NextTokens
from hf_stitch.evaluation.answer_kinds.numbers import Numbers
from hf_stitch.evaluation.answer_kinds.texts import Texts
from hf_stitch.evaluation.answer_kinds.vectors import Vectors
from hf_stitch.models.tasks import is_classifier


def kind_of(target: HookedModel) -> AnswerKind:
    """Which kind a target's answers are of.

    Next tokens of a causal model in the middle, texts where it generates or has a CTC head, vectors without any head,
    classes of a classifier, numbers else.
    """
    if in_the_middle(target):
        return NextTokens()
    if target.text_output is not None:
        return Texts(target.text_output, target.tokenizer)
    if target.vector_head is not None:
        return Vectors()
    return Classes(target.model.config.id2label) if is_classifier(target) else Numbers()
