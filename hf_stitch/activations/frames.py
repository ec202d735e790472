"""What was collected of one split: activations of both sides by sample, answers, and CTC paths."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hf_stitch.activations.ragged import Ragged
from hf_stitch.errors import ActivationError

Answers = Tensor | Ragged


@dataclass(frozen=True)
class Frames:
    """Everything seen of one sample set, in sample order.

    Attributes:
        source, target: activations of all features at the hook points.
        path: greedy CTC classes of the source, where it has a CTC head; forced the best path that spells the target's
            text, where that was asked for.
        output: (n, k) the target's own output on its own input, or the tokens that it writes; `source_output` the
            source's.
        buckets: the sample numbers of each part.
        key: cache key of the collection.
    """

    source: Ragged
    target: Ragged
    path: Ragged | None
    output: Answers
    source_output: Answers | None
    buckets: tuple[tuple[int, ...], ...]
    key: str
    forced: Ragged | None = None

    def __len__(self) -> int:
        return len(self.source)

    def swapped(self) -> Frames:
        """The same samples in the other direction.

        Raises:
            ActivationError: the source has no answers to compare with.
        """
        if self.source_output is None:
            raise ActivationError("directions: both needs a source that answers, such as a classifier")
        return Frames(self.target, self.source, None, self.source_output, self.output, self.buckets, self.key + "-back")
