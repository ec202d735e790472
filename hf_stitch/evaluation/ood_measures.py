"""What a stitched model says to inputs that no recipe's data hold: how far it trusts them, and how wrong it then is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from hf_stitch.activations.collection import output_of, to_device
from hf_stitch.activations.observations import Observations
from hf_stitch.evaluation.ood_inputs import ood_inputs
from hf_stitch.evaluation.selective import OodAnswers
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.models.tasks import is_classifier
from hf_stitch.recipe.recipe import Recipe

AT_ONCE = 8  # inputs run together


def ood_answers(model: StitchedModel, recipe: Recipe, observations: Observations) -> dict[str, OodAnswers]:
    """Trust by kind of probe, through the model's own prefix; errors where the target
    reads the source's own input and answers by classes or numbers."""
    if model.rule.state.target_length == "oracle" or model.rule.needs_times:
        return {}  # nobody knows how long noise is in the target, or when its words are said
    shared = observations.target.text_output is None and _one_input(recipe)
    found = {}
    for name, raws in ood_inputs(
        observations.source.preparer, observations.samples["test"], observations.samples["fit"], recipe.seed
    ).items():
        rows = list(_run(model, observations, raws, shared))
        score, distance, *answers = (torch.cat(column) for column in zip(*rows))
        errors = _errors(answers[0], answers[1], is_classifier(observations.target)).numpy() if shared else None
        found[name] = OodAnswers(score.numpy(), distance.numpy(), errors)
    return found


def _one_input(recipe: Recipe) -> bool:
    """True where both models read the same column, so that the target's own answer to any input can be had."""
    columns = (recipe.data.test or recipe.data.fit).columns
    return columns.target in (None, columns.source)


def _run(
    model: StitchedModel, observations: Observations, raws: list[Any], shared: bool
) -> Iterator[tuple[Tensor, ...]]:
    """Scores and distances of a batch, and with `shared` the answers of the model and of the target itself."""
    preparer = observations.source.preparer
    if model.rule.facts.needs_target_spans:
        preparer = preparer.with_target_tokenizer(observations.target.tokenizer)
    with torch.no_grad():
        for first in range(0, len(raws), AT_ONCE):
            batch = raws[first : first + AT_ONCE]
            inputs = to_device(preparer.batch(batch), observations.runtime)
            spans = inputs.pop("target_spans", None)
            frames, mask, path = model.activations(inputs)
            plan = model.plan(mask, path, spans, None, frames)
            trust = model.trusted(frames, plan)
            row: tuple[Tensor, ...] = (trust.score.cpu(), trust.distances["distance"].cpu())
            if shared:
                answer = output_of(model.finish(model.stitch(frames, mask, plan), plan.mask), "target")
                own = output_of(
                    observations.target.model(
                        **to_device(observations.target.preparer.batch(batch), observations.runtime)
                    ),
                    "target",
                )
                assert answer is not None
                assert own is not None
                row = (*row, answer.cpu(), own.cpu())
            yield row


def _errors(answers: Tensor, own: Tensor, classifier: bool) -> Tensor:
    """(n,) other answers than the target's own, or squared differences from it; both (n, k)."""
    if classifier:
        return answers.argmax(-1) != own.argmax(-1)
    return (answers.double() - own.double()).square().mean(1)
