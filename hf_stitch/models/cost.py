"""How many multiply-adds a stitched model takes, part by part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

from hf_stitch.activations.hooked_model import HookedModel
from hf_stitch.errors import HookError
from hf_stitch.hooks.given_inputs import GivenInput
from hf_stitch.hooks.position_limit import Cut, telling
from hf_stitch.hooks.probe_inputs import make_inputs_for
from hf_stitch.hooks.trace import MakeInputs
from hf_stitch.loading.modality import modality
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.runtime.extras import extra

POSITIONS = {"audio": 250, "image": 7}
"""Source positions for which is counted, by hand: 5 s of sound at the usual 50 frames a second; 32 of other kinds.

Of pictures, where a network has no size of its own, steps of 32 pixels: 224, the usual size."""


def counted(work: Callable[[], Any]) -> tuple[Any, int]:
    """What `work` returns, and its multiply-adds: half the flops that torch counts.

    These are matrix products, convolutions and attention; what works number by number (norms, activations, distances,
    look-ups) and fused recurrent layers are not among them.
    """
    # MATH: attention then counts as its matrix products, whatever kernel the machine would take.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        found = work()
    return found, counter.get_total_flops() // 2


def multiply_adds(
    model: StitchedModel, positions: int | None = None, make_inputs: MakeInputs | None = None
) -> dict[str, int]:
    """Multiply-adds of one input of so many source positions (tokens, frames), random and unpadded.

    An encoder-decoder is counted with one decoder token. Where the length rule listens to a CTC path, or takes the
    times of words, every 16 frames are a word.

    Args:
        make_inputs: of the source; absent: from what the model says of it.

    Returns:
        prefix, layer, suffix and their total, beside source_positions and target_positions.

    Raises:
        HookError: a suffix that needs more than activations to run.
    """
    wanted = positions or POSITIONS.get(modality(model.prefix), 32)
    made = (make_inputs or make_inputs_for(model.prefix, *_fed(model)))(1, wanted)
    inputs = {name: value for name, value in made.items() if isinstance(value, Tensor)}
    (frames, mask, path), prefix = counted(lambda: model.activations(inputs))
    count = frames.shape[1]
    path, spans = model.rule.rule.typical(count, path, frames.device)  # random inputs spell nothing
    plan = model.plan(mask, path, spans, torch.tensor([count]), frames)
    values, layer = counted(lambda: model.stitch(frames, mask, plan))
    extra: dict[str, Any] = {}
    if "decoder_input_ids" in model.config.ends["suffix"]["plan"].get("given", ()):
        extra["decoder_input_ids"] = torch.zeros(1, 1, dtype=torch.long, device=frames.device)
    cuts: list[Cut] = []
    with telling(cuts.append):
        _, suffix = counted(lambda: model.finish(values, plan.mask, **extra))
    taken = min([values.shape[1], *(cut.takes for cut in cuts)])
    found = {"prefix": prefix, "layer": layer, "suffix": suffix, "total": prefix + layer + suffix}
    return {"source_positions": count, "target_positions": taken, **found}


def _fed(model: StitchedModel) -> tuple[dict[str, GivenInput], dict[str, tuple[int, ...]]]:
    """What is known of the source's inputs beside its configuration: described ones, and sizes."""
    told = model.config.ends["prefix"].get("inputs", {})
    given = {name: GivenInput.from_dict(one) for name, one in told.get("given", {}).items()}
    return given, {name: tuple(size) for name, size in told.get("sizes", {}).items()}


def whole_multiply_adds(model: Any, positions: int, make_inputs: MakeInputs | None = None) -> int:
    """Multiply-adds of a whole model on one random input of so many positions, and one decoder token."""
    pictures = isinstance(model, PreTrainedModel) and modality(model) == "image"
    inputs = dict((make_inputs or make_inputs_for(model))(1, POSITIONS["image"] if pictures else positions))
    if "decoder_input_ids" in inputs:
        inputs["decoder_input_ids"] = inputs["decoder_input_ids"][:, :1]
    return counted(lambda: model(**inputs))[1]


class Size(NamedTuple):
    """Numbers that a part holds: parameters, and buffers, which no training changes."""

    parameters: int
    buffers: int

    @property
    def numbers(self) -> int:
        return self.parameters + self.buffers


def sizes_of(model: StitchedModel) -> dict[str, Size]:
    """The size of each part that an answer needs, of their `total`, and of the trust gauge, which stands beside it."""
    parts = {"prefix": _size(model.prefix), "layer": _size(model.layer, model.rule), "suffix": _size(model.suffix)}
    total = Size(*(sum(one) for one in zip(*parts.values())))
    return {**parts, "total": total, "trust": Size(0, 0) if model.trust is None else _size(model.trust)}


def _size(*modules: nn.Module) -> Size:
    return Size(
        sum(one.numel() for module in modules for one in module.parameters()),
        sum(one.numel() for module in modules for one in module.buffers()),
    )


def count_parameters(model: StitchedModel, source: HookedModel, target: HookedModel) -> dict[str, int]:
    """Numbers held by each part (parameters and buffers), see `sizes_of`, beside those of the two whole models."""
    return {
        **{name: size.numbers for name, size in sizes_of(model).items()},
        "layer_parameters": _size(model.layer).parameters,
        "source_whole": _size(source.model).numbers,
        "target_whole": _size(target.model).numbers,
    }


def count_operations(model: StitchedModel, source: HookedModel, target: HookedModel) -> dict[str, int]:
    """Multiply-adds of each part and their total, beside those of the two whole models at the same lengths.

    Empty for a suffix that does not run on activations alone.
    """
    try:
        found = multiply_adds(model, make_inputs=source.make_inputs)
    except HookError:
        return {}
    return {
        **found,
        "source_whole": whole_multiply_adds(source.model, found["source_positions"], source.make_inputs),
        "target_whole": whole_multiply_adds(target.model, found["target_positions"], target.make_inputs),
    }


def cost_of(
    model: StitchedModel, source: HookedModel, target: HookedModel, warnings: list[str] | None = None
) -> dict[str, Any]:
    """What the report says about size: parameters, and multiply-adds of one input.

    Args:
        warnings: told where multiply-adds cannot be counted.
    """
    operations: dict[str, int] = {}
    with extra("multiply-adds", [] if warnings is None else warnings):
        operations = count_operations(model, source, target)
    return {**count_parameters(model, source, target), "multiply_adds": operations}
