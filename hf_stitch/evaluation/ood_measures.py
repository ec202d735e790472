"""What a stitched model says to inputs that no recipe's data hold: how far it trusts them, and how wrong it then is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from hf_stitch.activations.collection import output_of, to_device
from hf_stitch.activations.hooked_model import HookedModel
from hf_stitch.evaluation.answer_kinds.base import AnswerKind
from hf_stitch.evaluation.answers import own_answers
from hf_stitch.evaluation.selective import OodAnswers
from hf_stitch.hooks.position_limit import telling
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.runtime.runtime import Runtime

AT_ONCE = 8  # inputs run together; by hand


def ood_answers(
    model: StitchedModel,
    inputs: Mapping[str, list[Any]],
    source: HookedModel,
    target: HookedModel,
    kind: AnswerKind,
    one_input: bool,
    runtime: Runtime,
) -> dict[str, OodAnswers]:
    """Trust by kind of input, through the model's own prefix.

    Args:
        inputs: raw inputs of the source, by kind.
        kind: of the target's answers.
        one_input: the target reads the source's own input, so that its own answer to any input can be had; errors are
            then told where it answers with classes or numbers.
    """
    if model.rule.state.target_length == "oracle" or model.rule.needs_times:
        return {}  # nobody knows how long noise is in the target, or when its words are said
    own = target if target.text_output is None and one_input else None
    preparer = model.rule.preparer(source, target)
    found = {}
    for name, raws in inputs.items():
        with telling(lambda cut: None):  # nobody asks how long noise is
            rows = list(_run(model, preparer, own, raws, runtime))
        score, distance, *answers = (torch.cat(column) for column in zip(*rows))
        # float64: differences of numbers in half precision would be all rounding.
        errors = None if own is None else kind.errors(answers[0].double(), answers[1].double())
        found[name] = OodAnswers(score.numpy(), distance.numpy(), errors)
    return found


def _run(
    model: StitchedModel, preparer: Any, target: HookedModel | None, raws: list[Any], runtime: Runtime
) -> Iterator[tuple[Tensor, ...]]:
    """Scores and distances of a batch, and with a `target` the answers of the model and of the target itself."""
    with torch.no_grad():
        for first in range(0, len(raws), AT_ONCE):
            batch = raws[first : first + AT_ONCE]
            inputs = to_device(preparer.batch(batch), runtime)
            # The prefix takes no spans.
            spans = inputs.pop("target_spans", None)
            frames, mask, path = model.activations(inputs)
            plan = model.plan(mask, path, spans, None, frames)
            trust = model.trusted(frames, plan)
            row: tuple[Tensor, ...] = (trust.score.cpu(), trust.distances["distance"].cpu())
            if target is not None:
                answer = output_of(
                    model.finish(model.stitch(frames, mask, plan), plan.mask), "target", "the stitched model"
                )
                assert answer is not None
                own = own_answers(target, batch)
                row = (*row, answer.cpu(), torch.stack([own[i] for i in range(len(batch))]))
            yield row
