"""Inputs of a model that somebody described: random ones for probes, and fixed ones beside every real input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hf_stitch.hooks import symbolic_shapes

Maker = Callable[[int, int, torch.Generator], Any]
"""(batch, length, generator) -> one input."""
_LARGEST = 4096  # numbers of a constant that a plan says one by one; by hand


@dataclass(frozen=True)
class GivenInput:
    """One input.

    Attributes:
        shape: its axes as formulas of batch and length; empty: `value` itself, no tensor.
        dtype: of torch; floats are cast to the model's.
        value: what it always is, one for all or one for each place of the last axes; None: random.
        below: random whole numbers are smaller.
    """

    shape: tuple[symbolic_shapes.Dim, ...] = ()
    dtype: str = "float32"
    value: Any = None
    below: int = 2

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> GivenInput:
        return cls(**{**content, "shape": tuple(content["shape"])})

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data; `from_dict` is its inverse."""
        return asdict(self) | {"shape": list(self.shape)}

    @property
    def fixed(self) -> bool:
        return self.value is not None

    def maker(self, model: nn.Module) -> Maker:
        """What makes it for a model."""
        like = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(0))
        return lambda batch, length, draw: self.made(batch, length, like, draw)

    def made(self, batch: int, length: int, like: Tensor, draw: torch.Generator | None = None) -> Any:
        """The input of a batch, on the device and (floats) in the dtype of `like`."""
        if not self.shape:
            return self.value
        sizes = [symbolic_shapes.size(dim, batch, length) for dim in self.shape]
        kind = getattr(torch, self.dtype)
        if self.fixed:
            found = torch.tensor(self.value).to(kind).expand(sizes).clone()
        elif kind.is_floating_point:
            found = torch.randn(sizes, generator=draw)
        else:
            found = torch.randint(self.below, sizes, generator=draw).to(kind)
        return found.to(like.device, like.dtype if kind.is_floating_point else kind)


@dataclass(frozen=True)
class FixedInputs:
    """Inputs that a model needs beside those that its processor makes, the same for every sample.

    Attributes:
        given: by name. main: name of the main input, and time: its second axis as a formula of the length.
    """

    given: Mapping[str, GivenInput]
    main: str
    time: symbolic_shapes.Dim

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> FixedInputs:
        return cls({k: GivenInput.from_dict(v) for k, v in content["given"].items()}, content["main"], content["time"])

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data; `from_dict` is its inverse."""
        return {"given": {k: v.to_dict() for k, v in self.given.items()}, "main": self.main, "time": self.time}

    def beside(self, inputs: Mapping[str, Any], dtype: torch.dtype) -> dict[str, Any]:
        """Inputs with these where they are not there."""
        main = inputs[self.main]
        length = 1  # of an input that has none
        if isinstance(self.time, list):  # as many as fit: the rest of a sound is less than a frame
            length = max(1, (main.shape[1] - self.time[2]) // self.time[1])
        like = torch.zeros(0, device=main.device, dtype=dtype)
        return {**{name: one.made(len(main), length, like) for name, one in self.given.items()}, **inputs}


def constant_in(value: Tensor, dims: list[symbolic_shapes.Dim]) -> Any:
    """What an input holds that is the same at all places which batch and length make: one number, or nested lists of
    those along the other axes; None where it is not, or too much to say."""
    first = value[tuple(slice(None) if isinstance(dim, int) else slice(1) for dim in dims)]
    if not torch.equal(value, first.expand_as(value)):
        return None
    if bool((first == first.flatten()[0]).all()):
        return first.flatten()[0].item()
    return first.tolist() if first.numel() <= _LARGEST else None
