"""Neighbourhoods of samples, and how the activations at a hook point move inside them.

Gaussian neighbourhoods have standard deviation delta / 4 (Stroescu: delta is the radius covered). They live in the
input space; for text, whose ids cannot be perturbed, at the output of the input embedding. Exact neighbourhoods push
tangent vectors through the network by forward-mode differentiation (Bertalan et al., section 4.3).

Every draw is a function of (seed, sample key, neighbour number) alone, so a sample has the same neighbours in any
batch, process or second run, and both models see corresponding neighbours of a shared input.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import PreTrainedModel

from hf_stitch.errors import HookError
from hf_stitch.hooks.capture import capture
from hf_stitch.hooks.points import HookPoint, resolve
from hf_stitch.hooks.thread_hooks import add_hook

Inputs = Mapping[str, Tensor]
BLOCK, SMALL = 64, 256  # neighbours drawn together when a draw is at most so large; by hand, others give other draws
# Main inputs of transformers' sound and picture models, and of the zoo's networks, that can be moved a little.
FLOAT_INPUTS = ("input_values", "input_features", "pixel_values", "inputs")


@dataclass(frozen=True)
class Neighborhood:
    """What is drawn round each sample.

    Attributes:
        kind: `gaussian` or `jacobian`.
        size: neighbours of a sample; for `jacobian` the most tangents used.
        width: standard deviation, delta / 4, in units of the model's input or embedding.
        seed: of the recipe.
        embedding: the input embedding's hook point when the neighbourhood lies there, else None.
    """

    kind: Literal["gaussian", "jacobian"]
    size: int
    width: float
    seed: int
    embedding: HookPoint | None = None


def noise(seed: int, key: str, neighbour: int, shape: Sequence[int]) -> Tensor:
    """Standard normal numbers that depend on (seed, key, neighbour) and the shape only; float32.

    Small draws come in blocks of neighbours, since starting a generator costs more than a short row.
    """
    block = BLOCK if math.prod(shape) <= SMALL else 1
    return _block(seed, key, neighbour // block, block, tuple(shape))[neighbour % block]


# Twice the largest batch, all of whose rows ask again for the next neighbour; by hand.
@lru_cache(maxsize=4096)
def _small_block(seed: int, key: str, number: int, block: int, shape: tuple[int, ...]) -> Tensor:
    name = f"{seed}\0{key}\0{number}".encode()
    # Drawn on the CPU: GPUs give other numbers for the same seed.
    generator = torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(name).digest()[:8], "little") >> 1)
    return torch.randn(block, *shape, generator=generator)


def _block(seed: int, key: str, number: int, block: int, shape: tuple[int, ...]) -> Tensor:
    # Only small blocks are worth keeping; one long waveform is drawn once and used once.
    draw = _small_block if block > 1 else _small_block.__wrapped__
    return draw(seed, key, number, block, shape)


def perturbations(
    model: PreTrainedModel,
    point: HookPoint,
    inputs: Inputs,
    keys: Sequence[str],
    around: Neighborhood,
    chunk: int,
) -> Iterator[Tensor]:
    """How the activations of a batch move for its neighbours, `chunk` neighbours at a time.

    Args:
        inputs: the batch's model inputs; padded positions are not perturbed.
        keys: (b,) sample keys.
        chunk: neighbours run together; bounds the memory whatever `size` is.

    Yields:
        (b, k, t, m) deviations from the unperturbed activations, k <= chunk; their mean second moment over all
        neighbours is the local covariance.
    """
    place = _place(model, inputs, around)
    if around.kind == "jacobian":
        yield from _tangents(model, point, inputs, keys, around, place)
        return
    with torch.no_grad():
        centre = capture(model, [point], inputs)[0]
        for first in range(0, around.size, chunk):
            numbers = range(first, min(first + chunk, around.size))
            draws = torch.cat([place.draw(keys, around, j) for j in numbers])
            repeated = {name: _repeat(value, len(numbers)) for name, value in inputs.items()}
            with place.shifted(repeated, draws * around.width) as moved:
                found = capture(model, [point], moved)[0]
            yield (found.unflatten(0, (len(numbers), len(keys))) - centre).transpose(0, 1)


def given_perturbations(
    model: PreTrainedModel, point: HookPoint, inputs: Inputs, neighbours: Iterator[Inputs]
) -> Iterator[Tensor]:
    """How the activations of a batch move for neighbours that the data give (Bertalan et al., section 4.2).

    Args:
        neighbours: the j-th item holds the model inputs of the j-th neighbour of every sample.

    Yields:
        (b, 1, t, m), as `perturbations`.
    """
    with torch.no_grad():
        centre = capture(model, [point], inputs)[0]
        for moved in neighbours:
            yield (capture(model, [point], moved)[0] - centre)[:, None]


def _repeat(value: Tensor, times: int) -> Tensor:
    return value.repeat(times, *[1] * (value.ndim - 1))


@dataclass(frozen=True)
class _Position:
    """Where perturbations enter: a float input by name, or a module's output."""

    name: str
    shape: tuple[int, ...]
    mask: Tensor | None
    module: nn.Module | None
    layout: str
    like: Tensor

    def draw(self, keys: Sequence[str], around: Neighborhood, neighbour: int) -> Tensor:
        """(b, ...) standard normal draws, zero at padding."""
        # Rows are drawn at their own unpadded length, so that a sample's draw does not depend on its batch.
        rows = [self._row(i, noise(around.seed, key, neighbour, self._own(i))) for i, key in enumerate(keys)]
        return torch.stack(rows).to(self.like)

    def _own(self, i: int) -> tuple[int, ...]:
        if self.mask is None:
            return self.shape
        return (int(self.mask[i].sum()), *self.shape[1:])

    def _row(self, i: int, own: Tensor) -> Tensor:
        if self.mask is None:
            return own
        row = torch.zeros(self.shape)
        row[self.mask[i].bool().cpu()] = own
        return row

    @contextmanager
    def shifted(self, inputs: Inputs, shift: Tensor) -> Iterator[Inputs]:
        """Inputs under which the model sees the shift; a module's output is shifted by a hook."""
        if self.module is None:
            yield {**inputs, self.name: inputs[self.name] + shift}
            return
        turned = shift.transpose(0, 1) if self.layout == "time_first" else shift
        handle = add_hook(
            self.module.register_forward_hook, lambda module, args, output: output + turned.to(output), prepend=True
        )
        try:
            yield inputs
        finally:
            handle.remove()


def _place(model: PreTrainedModel, inputs: Inputs, around: Neighborhood) -> _Position:
    mask = inputs.get("attention_mask")
    if around.embedding is not None:
        ids = inputs["input_ids"]
        weight = next(resolve(model, around.embedding.module).parameters())
        shape = (ids.shape[1], around.embedding.width)
        module = resolve(model, around.embedding.module)
        return _Position("", shape, mask, module, around.embedding.layout, weight.detach().new_zeros(()))
    name = next((name for name in FLOAT_INPUTS if name in inputs), None)
    if name is None:
        raise HookError(
            f"{type(model).__name__} takes no continuous input (it was given {', '.join(inputs)}); "
            "set neighborhoods.where: embedding"
        )
    value = inputs[name]
    along = mask is not None and mask.shape == value.shape[: mask.ndim]
    return _Position(name, tuple(value.shape[1:]), mask if along else None, None, "", value.new_zeros(()))


def embedding_point(model: PreTrainedModel, probe: Callable[[str], HookPoint]) -> HookPoint:
    """Hook point of the input embedding; `probe` turns a module name into a HookPoint."""
    try:
        module = model.get_input_embeddings()
    except NotImplementedError:  # what transformers raises for a model that it knows none of
        module = None
    for name, found in model.named_modules():
        if found is module:
            return probe(name)
    raise HookError(f"{type(model).__name__} has no input embedding; set neighborhoods.where: input")


def _tangents(
    model: PreTrainedModel,
    point: HookPoint,
    inputs: Inputs,
    keys: Sequence[str],
    around: Neighborhood,
    place: _Position,
) -> Iterator[Tensor]:
    """Exact moves J v: v the unit vectors where there are few inputs, else Gaussian draws."""
    wide = math.prod(place.shape)
    exact = wide <= around.size
    for j in range(wide if exact else around.size):
        if exact:
            # sqrt: the mean of `wide` + 1 second moments is then width^2 J J^T, as for Gaussian draws
            tangent = torch.zeros(len(keys), wide).to(place.like)
            tangent[:, j] = (wide + 1) ** 0.5
            tangent = tangent.reshape(len(keys), *place.shape)
        else:
            tangent = place.draw(keys, around, j)
        moved = _jvp(model, point, inputs, tangent * around.width, place)[:, None]
        yield moved
    if exact:  # nothing moves beyond these: without this row no gap could show that the dimension is `wide`
        yield torch.zeros_like(moved)


def _jvp(model: PreTrainedModel, point: HookPoint, inputs: Inputs, tangent: Tensor, place: _Position) -> Tensor:
    # Only the plain attention kernel has forward-mode derivatives.
    with forward_ad.dual_level(), sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        zero = torch.zeros_like(tangent)
        with place.shifted(inputs, forward_ad.make_dual(zero, tangent)) as moved:
            found = capture(model, [point], moved)[0]
        derivative = forward_ad.unpack_dual(found).tangent
    return torch.zeros_like(found) if derivative is None else derivative.clone()
