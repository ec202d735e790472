"""What was collected of one split: activations of both sides by sample, answers, and CTC paths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from hf_stitch.activations.ragged import Ragged, Sequences
from hf_stitch.errors import ActivationError
from hf_stitch.recipe.side import Role

Answers = Tensor | Ragged
"""What a model answers to n samples: (n, k) numbers, or the tokens that it generates."""


@dataclass(frozen=True)
class Frames:
    """Everything seen of one sample set, by sample; activations and paths stay on disk until they are asked for.

    Attributes:
        source, target: activations of all features at the hook points.
        path: greedy CTC classes of the source, where it has a CTC head; forced the best path that spells the target's
            text, where that was asked for.
        output: (n, k) the target's own output on its own input, or the tokens that it writes; `source_output` the
            source's.
        buckets: the sample numbers of each part.
        key: cache key of the collection.
        further: activations at further hook points, by side and name of the module.
    """

    source: Sequences
    target: Sequences
    path: Sequences | None
    output: Answers
    source_output: Answers | None
    buckets: tuple[tuple[int, ...], ...]
    key: str
    forced: Sequences | None = None
    further: Mapping[tuple[Role, str], Sequences] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.source)

    def at(self, side: Role, module: str) -> Sequences:
        """Activations of all features at a further hook point.

        Raises:
            ActivationError: it was not collected.
        """
        if (side, module) not in self.further:
            known = ", ".join(name for role, name in self.further if role == side) or "none"
            raise ActivationError(f"{side}: no activations were collected at {module!r}; further hook points: {known}")
        return self.further[side, module]

    def swapped(self) -> Frames:
        """The same samples in the other direction.

        Raises:
            ActivationError: the source has no answers to compare with.
        """
        if self.source_output is None:
            raise ActivationError("directions: both needs a source that answers, such as a classifier")
        turned: dict[Role, Role] = {"source": "target", "target": "source"}
        further = {(turned[side], module): values for (side, module), values in self.further.items()}
        key = self.key + "-back"
        return Frames(
            self.target, self.source, None, self.source_output, self.output, self.buckets, key, further=further
        )
