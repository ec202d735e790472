"""The vector with which a model without a head answers: its states pooled over real positions, and what follows.

The head is a part of its model, called `vector`: what lies in it can be hooked like any layer (`vector.pooling`), it is
cut and saved with the model, and the model's output then holds `embeddings` (b, k) before all else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from hf_stitch.errors import ActivationError, ArtifactError
from hf_stitch.hooks.masks import timestep_mask

NAME, STATES = "vector", "last_hidden_state"
DEFAULT = "the default, for neither its folder nor the recipe names a pooling"


@dataclass
class VectorOutput(ModelOutput):
    """What a model with a vector head gives: its own output's fields behind the vector, those of other names too."""

    embeddings: Tensor | None = None
    last_hidden_state: Tensor | None = None
    pooler_output: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


def _mean(states: Tensor, mask: Tensor) -> Tensor:
    return _total(states, mask) / mask.sum(1, keepdim=True).clamp(min=1)


def _mean_sqrt(states: Tensor, mask: Tensor) -> Tensor:
    return _total(states, mask) / mask.sum(1, keepdim=True).clamp(min=1).sqrt()


def _weighted_mean(states: Tensor, mask: Tensor) -> Tensor:
    """Each real position counts as much as its place among them: 1, 2, 3, ..."""
    weights = (mask.cumsum(1) * mask).unsqueeze(-1).to(states.dtype)
    return _total(states * weights, mask) / weights.sum(1).clamp(min=1)


def _max(states: Tensor, mask: Tensor) -> Tensor:
    return states.masked_fill(~mask.unsqueeze(-1), -torch.inf).amax(1)


def _first(states: Tensor, mask: Tensor) -> Tensor:
    return _at(states, mask.long().argmax(1))


def _last(states: Tensor, mask: Tensor) -> Tensor:
    return _at(states, mask.shape[1] - 1 - mask.long().flip(1).argmax(1))


def _total(states: Tensor, mask: Tensor) -> Tensor:
    # `where`, not a product: padding may hold NaN.
    return torch.where(mask.unsqueeze(-1), states, 0).sum(1)


def _at(states: Tensor, place: Tensor) -> Tensor:
    return states[torch.arange(len(states), device=states.device), place]


POOLINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cls": _first,
    "max": _max,
    "mean": _mean,
    "mean_sqrt_len_tokens": _mean_sqrt,
    "weightedmean": _weighted_mean,
    "lasttoken": _last,
}
"""From states (b, t, m) and mask (b, t) to (b, m), by sentence-transformers' names and in the order in which it puts
several of them side by side."""


class Pooling(nn.Module):
    """States pooled in one way or several, side by side: (b, m) or (b, several times m)."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = tuple(name for name in POOLINGS if name in names)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        # Sums over many positions have no place in half precision.
        wide = states.float() if states.dtype in (torch.float16, torch.bfloat16) else states
        return torch.cat([POOLINGS[name](wide, mask) for name in self.names], -1).to(states.dtype)

    def extra_repr(self) -> str:
        return ", ".join(self.names)


class Given(nn.Module):
    """Takes a vector of the model as it is."""

    def forward(self, found: Tensor, mask: Tensor) -> Tensor:
        # A copy: a hook point's activation must not be the output of another module.
        return found.flatten(1).clone()


class Dense(nn.Module):
    """A linear layer and what follows it, by the name of its class in torch.nn."""

    def __init__(self, width: int, outputs: int, bias: bool, activation: str) -> None:
        super().__init__()
        self.linear = nn.Linear(width, outputs, bias=bias)
        self.activation = getattr(nn, activation)()

    def forward(self, rows: Tensor) -> Tensor:
        found: Tensor = self.activation(self.linear(rows))
        return found


class LayerNorm(nn.Module):
    """Layer normalisation under the names of sentence-transformers' weights."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, rows: Tensor) -> Tensor:
        found: Tensor = self.norm(rows)
        return found


class Normalize(nn.Module):
    """Vectors of length 1."""

    def forward(self, rows: Tensor) -> Tensor:
        return nn.functional.normalize(rows, dim=-1)


STEPS: dict[str, type[nn.Module]] = {"dense": Dense, "layer_norm": LayerNorm, "normalize": Normalize}
"""What may follow the pooling, by `kind`; its other keys are the arguments."""


class VectorHead(nn.Module):
    """From one field of a model's output to a vector: pooling, then further steps.

    Args:
        field: of the output: `last_hidden_state` (b, t, m), or one that holds a vector already.
        pooling: names of `POOLINGS`; none where the field is a vector.
        steps: `{"kind": ...}` with the arguments of the class in `STEPS`, one after the other.
        origin: where this was read, in words: the folder, the recipe, the default.
        width: k of its vectors, where that is known.
    """

    def __init__(
        self,
        field: str = STATES,
        pooling: Sequence[str] = ("mean",),
        steps: Sequence[Mapping[str, Any]] = (),
        origin: str = "",
        width: int | None = None,
    ) -> None:
        super().__init__()
        self.spec: dict[str, Any] = {"field": field, "pooling": list(pooling), "steps": [dict(step) for step in steps]}
        self.spec["width"] = width
        self.field, self.origin = field, origin
        self.pooling: nn.Module = Pooling(pooling) if pooling else Given()
        made = [({**step}, STEPS[step["kind"]]) for step in steps]
        self.steps = nn.ModuleList(kind(**{k: v for k, v in step.items() if k != "kind"}) for step, kind in made)

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> VectorHead:
        """ArtifactError for a description of no head."""
        try:
            return cls(spec["field"], spec["pooling"], spec["steps"], width=int(spec["width"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArtifactError(f"config.json describes no vector head ({error}): {spec!r:.60}; fit again") from error

    @property
    def by_default(self) -> bool:
        """Whether nobody said how the vector is made."""
        return self.origin == DEFAULT

    def forward(self, found: Tensor, mask: Tensor) -> Tensor:
        """Vectors (b, k) of the output's field and the mask (b, t) of its positions."""
        rows: Tensor = self.pooling(found, mask)
        for step in self.steps:
            rows = step(rows)
        return rows

    def __str__(self) -> str:
        """In a few words, such as `mean, normalize`."""
        first = " and ".join(self.spec["pooling"]) or self.field
        return ", ".join([first, *(step["kind"] for step in self.spec["steps"])])


def attach(model: PreTrainedModel, head: VectorHead) -> PreTrainedModel:
    """Give a model a vector head, in place: its outputs are `VectorOutput` from now on. Returns the model."""
    place = next(model.parameters(), torch.zeros(0))
    # One dtype throughout: of a half the head is cast with the rest.
    model.vector = head.to(device=place.device, dtype=place.dtype).eval()
    for module in head.modules():  # else models that hold this one draw new weights for it
        module._is_hf_initialized = True  # type: ignore[assignment]
    model.register_forward_hook(_with_vector, with_kwargs=True)
    return model


def vector_head_of(model: Any) -> VectorHead | None:
    """The head that `attach` gave; None of a model without."""
    found = getattr(model, NAME, None)
    return found if isinstance(found, VectorHead) else None


# A function of the module, not of one model: copies of a model keep their hooks, and must run their own head.
def _with_vector(model: Any, args: Any, kwargs: Mapping[str, Any], output: Any) -> Any:
    if not isinstance(output, ModelOutput):  # asked for as a tuple
        return output
    head: Any = getattr(model, NAME)
    found = output.get(head.field)
    if not isinstance(found, Tensor):
        raise ActivationError(f"{type(model).__name__} gives no {head.field}; its output has {', '.join(output)}")
    states = positions_of(found)
    mask = timestep_mask(model, kwargs.get("attention_mask"), states)
    made = VectorOutput(embeddings=head(states, mask))
    for key, value in output.items():
        made[key] = value
    return made


def positions_of(found: Tensor) -> Tensor:
    """States as (b, t, m): of pictures (b, m, h, w) every place is a position, a vector (b, m) is one."""
    return found.unsqueeze(1) if found.ndim == 2 else found.flatten(2).transpose(1, 2) if found.ndim == 4 else found
