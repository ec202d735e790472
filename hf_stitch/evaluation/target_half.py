"""The rest of a causal target behind its hook point, with what a control needs to run it on activations of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from hf_stitch.activations.frames import Frames
from hf_stitch.activations.next_tokens import Run, beside_own, vocabulary_of
from hf_stitch.activations.ragged import Ragged, Sequences
from hf_stitch.errors import ActivationError
from hf_stitch.hooks.padded_suffix import finished
from hf_stitch.hooks.padding import Padding
from hf_stitch.models.assembly import Halves
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.stitching.correspondence import Correspondence
from hf_stitch.stitching.lengths.length_rule import LengthRule


@dataclass(frozen=True)
class TargetHalf:
    """How activations at the target's hook point become logits, and how those of the source get there.

    Attributes:
        run: activations (b, t, m) and their mask to logits (b, t, V). size: tokens that the target knows.
        rule: the length rule with its special tokens.
        mean: (m,) the target's mean activation over all positions of the fit.
        correspondence: the rows of both sides, those of the fit where it was observed.
    """

    run: Run
    size: int
    rule: LengthRule
    mean: Tensor
    correspondence: Correspondence

    @classmethod
    def cut(cls, halves: Halves, correspondence: Correspondence) -> TargetHalf:
        """Of a target that was cut for a fit, which runs on the device of the fit."""
        seen = correspondence.observations
        suffix, end = halves.suffix.to(seen.runtime.device), halves.suffix_config
        run = partial(_logits_of, suffix, end["plan"], Padding.from_dict(end["padding"]))
        assert halves.mean_activation is not None
        rule = correspondence.whole_rule().to(seen.runtime.device)
        return cls(run, vocabulary_of(suffix), rule, halves.mean_activation, correspondence)

    @classmethod
    def of(cls, model: StitchedModel, correspondence: Correspondence) -> TargetHalf:
        """Of a stitched model that is there."""
        mean = model.get_buffer("mean_activation")
        return cls(partial(logits_of, model), vocabulary_of(model.suffix), model.rule, mean, correspondence)


def logits_of(model: StitchedModel, values: Tensor, mask: Tensor) -> Tensor:
    """Logits (b, t, V) of a stitched model's second half on activations (b, t, m)."""
    logits: Tensor = model.finish(values, mask).logits
    return logits


def _logits_of(suffix: Any, plan: Mapping[str, Any], padding: Padding, values: Tensor, mask: Tensor) -> Tensor:
    logits: Tensor = finished(suffix, plan, padding, values, mask).logits
    return logits


def own_activations(target: Sequences, bucket: Sequence[int], mask: Tensor) -> Tensor:
    """The target's own activations (b, t, m) of some samples, at the positions of a stitched batch.

    Raises:
        ActivationError: that has other positions than the target.
    """
    lengths, counts = target.lengths[list(bucket)], mask.sum(1).cpu()
    if not torch.equal(lengths, counts):
        i = int((lengths != counts).nonzero()[0])
        raise ActivationError(
            f"a stitched text has {int(counts[i])} positions where the target's own has {int(lengths[i])}, so that "
            "what they say cannot be compared: sequence.length: spans, or trim between models of the same tokens"
        )
    values = target.take(bucket).values
    whole = values.new_zeros(*mask.shape, values.shape[-1])
    whole[mask.cpu()] = values
    return whole.to(mask.device)


def answers_beside_own(
    run: Run, size: int, frames: Frames, bucket: Sequence[int], mask: Tensor, candidates: Mapping[str, Tensor]
) -> dict[str, list[Tensor]]:
    """What candidates (b, t, m) at the target's hook point lead to, beside the target's own; see `beside_own`."""
    assert isinstance(frames.output, Ragged)
    own = own_activations(frames.target, bucket, mask)
    known = [frames.output[i] for i in bucket]
    return beside_own(run, candidates, own, mask, known, size)


def candidate_answers(
    half: TargetHalf,
    batches: Iterator[Any],
    frames: Frames,
    made: Callable[[Tensor, Tensor, Any], dict[str, Tensor]],
) -> dict[str, Ragged]:
    """Answers by name of what `made` puts at the hook point, of all samples in their order.

    Args:
        batches: of `planned_by`. made: source activations, mask and plan of a batch to activations by name.
    """
    rows: dict[str, dict[int, Tensor]] = {}
    with torch.no_grad():
        for bucket, values, mask, plan in batches:
            found = made(values, mask, plan)
            for name, answers in answers_beside_own(half.run, half.size, frames, bucket, plan.mask, found).items():
                rows.setdefault(name, {}).update(zip(bucket, answers))
    return {name: Ragged.pack([of[i] for i in range(len(of))]) for name, of in rows.items()}
