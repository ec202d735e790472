"""Inputs of a model: random ones to probe it, and dummies of the right size to run its suffix on."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from hf_stitch.errors import HookError
from hf_stitch.hooks import symbolic_shapes
from hf_stitch.hooks.points import uncompiled
from hf_stitch.hooks.trace import COMBOS, MakeInputs

# States kept from call to call have no place in a stitched model. Layer 0 is where a key-value cache counts its length:
# behind a stub that stays 0, and padded generation comes out wrong (logits were seen to be off by 9.8).
_SWITCHES = ("use_cache", "use_mems")
_MASK = "attention_mask"


def make_inputs_for(model: nn.Module) -> MakeInputs:
    """Valid random inputs of a model, from its `main_input_name` and config.

    Returns:
        make(batch, length) -> keyword arguments: `input_ids` (batch, length) random ordinary tokens; raw audio of
        `length` frames; `input_features`; `pixel_values` at the config's size; otherwise float vectors (batch, width)
        as wide as `config.layer_sizes[0]` or the first nn.Linear. The same arguments give the same numbers.

    Raises:
        HookError: nothing of this is known of the model; write a `make_inputs` of your own.
    """
    model = uncompiled(model)
    config = getattr(model, "config", None)
    accepted = inspect.signature(model.forward).parameters
    key = getattr(model, "main_input_name", None) or next(iter(accepted))
    switches = {name: False for name in _SWITCHES if name in accepted}
    vocabulary = _vocabulary(config)
    tokens = key.endswith("input_ids") and vocabulary is not None
    two_towers = tokens and all(hasattr(model, f"get_{kind}_features") for kind in ("text", "image"))
    shape = None if tokens else _float_shape(model, config, key)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)

    def make(batch: int, length: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(1_000_003 * batch + length)  # one seed for each size in use
        inputs: dict[str, Any] = dict(switches)
        if shape is None:
            assert vocabulary is not None
            inputs[key] = _random_tokens(config, vocabulary, batch, length, generator).to(device)
        else:
            sizes = [symbolic_shapes.size(d, batch, length) for d in shape]
            inputs[key] = torch.randn(sizes, generator=generator).to(device, dtype)
        if getattr(config, "is_encoder_decoder", False) and "decoder_input_ids" in accepted and vocabulary is not None:
            inputs["decoder_input_ids"] = _random_tokens(config, vocabulary, batch, length, generator).to(device)
        if two_towers:
            sizes = [symbolic_shapes.size(d, batch, length) for d in _float_shape(model, config, "pixel_values")]
            inputs["pixel_values"] = torch.randn(sizes, generator=generator).to(device, dtype)
        return inputs

    return make


def _vocabulary(config: Any) -> int | None:
    for part in (config, getattr(config, "text_config", None), getattr(config, "decoder", None)):
        size = getattr(part, "vocab_size", None)
        if isinstance(size, int):
            return size
    return None


def special_ids(config: Any) -> set[int]:
    """All token ids with a meaning of their own that a config names."""
    found = [value for key, value in vars(config).items() if key.endswith("_token_id")] if config is not None else []
    flat = [v for value in found for v in (value if isinstance(value, list | tuple) else [value])]
    return {v for v in flat if isinstance(v, int)}


def _random_tokens(config: Any, vocabulary: int, batch: int, length: int, generator: torch.Generator) -> Tensor:
    # None of them: BART's classifiers want one number of end tokens in every row, and padding tokens move positions.
    special = special_ids(config) | {_end_token(config)}
    # 4096 by hand: enough different ones, whatever the vocabulary
    ordinary = torch.tensor([i for i in range(min(vocabulary, 4096)) if i not in special] or [0])
    ids = ordinary[torch.randint(len(ordinary), (batch, length), generator=generator)]
    end = _end_token(config)
    if end is not None:
        ids[:, -1] = end
    return ids


def _end_token(config: Any) -> int | None:
    """The token at whose place a model pools: BART's classifiers and CLIP look for it in their input."""
    text = getattr(config, "text_config", config)
    end = getattr(text, "eos_token_id", None)
    if "clip" in str(getattr(text, "model_type", "")):
        # with end token 2, as in the first configs, CLIP pools at the largest number
        return text.vocab_size - 1 if end == 2 else end
    return end if getattr(config, "is_encoder_decoder", False) and isinstance(end, int) else None


def _float_shape(model: nn.Module, config: Any, key: str) -> list[symbolic_shapes.Dim]:
    """Shape of the main float input as formulas of batch and length."""
    batch: symbolic_shapes.Dim = [1, 0, 1]
    audio: Any = config if hasattr(config, "conv_kernel") else getattr(config, "encoder", None)
    if key in ("input_values", "inputs") and hasattr(audio, "conv_kernel"):
        slope, offset = prod(audio.conv_stride), 0
        for kernel, stride in zip(reversed(audio.conv_kernel), reversed(audio.conv_stride)):
            # samples of f frames: invert out = (in - kernel) // stride + 1 layer by layer
            offset = offset * stride + kernel - stride
        return [batch, [0, slope, offset]]
    if key == "pixel_values":
        vision = getattr(config, "vision_config", config)
        size = getattr(vision, "image_size", 64)
        height, width = size if isinstance(size, list | tuple) else (size, size)
        return [batch, getattr(vision, "num_channels", 3), height, width]
    if key in ("input_values", "input_features") and hasattr(config, "num_mel_bins"):
        if hasattr(config, "max_source_positions") and not hasattr(config, "input_feat_per_channel"):
            # Whisper takes one length only, which its convolutions halve
            return [batch, config.num_mel_bins, 2 * config.max_source_positions]
        if key == "input_values" and hasattr(config, "max_length"):
            return [batch, config.max_length, config.num_mel_bins]
    if key == "input_features":
        for name in ("feature_projection_input_dim", "input_feat_per_channel", "num_mel_bins", "feature_size"):
            if hasattr(config, name):
                return [batch, [0, 1, 0], getattr(config, name)]
    width = vector_width(model)
    if width is not None:
        return [batch, width]
    raise HookError(
        f"no default probe inputs for {type(model).__name__} with main input {key!r}; expected tokens, audio, pixels "
        "or vectors; give a function make_inputs(batch, length) -> keyword arguments"
    )


def vector_width(model: nn.Module) -> int | None:
    """How many numbers a model of vectors takes: `config.layer_sizes[0]`, or the first nn.Linear's; None if neither."""
    sizes = getattr(getattr(model, "config", None), "layer_sizes", None)
    first = next((m for m in model.modules() if next(m.parameters(recurse=False), None) is not None), None)
    if sizes:
        return int(sizes[0])
    return first.in_features if isinstance(first, nn.Linear) else None


def describe_inputs(
    model: nn.Module, made: list[dict[str, Any]], given: Collection[str] = (), mask_key: str = _MASK
) -> dict[str, Any]:
    """JSON description of a model's inputs, from those made at `COMBOS`: shapes, switches, mask, padding.

    Args:
        given: inputs that are real when a suffix runs. mask_key: name of the mask of the inputs that are not.
    """
    config = getattr(model, "config", None)
    tensors: dict[str, Any] = {}
    constants: dict[str, Any] = {}
    for key, value in made[0].items():
        if key in given or (key.startswith("decoder_") and not mask_key.startswith("decoder_")):
            continue
        fitted = symbolic_shapes.fit(symbolic_shapes.record(value), symbolic_shapes.record(made[1].get(key)), COMBOS)
        if fitted is not None and "tensor" in fitted and key != _MASK:
            tensors[key] = fitted
        elif fitted is not None and "value" in fitted:
            constants[key] = fitted["value"]
    pad = getattr(config, "pad_token_id", None)
    special, vocabulary = special_ids(config), _vocabulary(config) or 1
    mask = None
    if tensors and mask_key in inspect.signature(model.forward).parameters:
        dims = next(iter(tensors.values()))["tensor"]
        if len(dims) > 1 and isinstance(dims[1], list) and dims[1][0] == 0:
            mask = dims[1]
    return {
        "tensors": tensors,
        "constants": constants,
        "end": _end_token(config),
        "mask": mask,
        "mask_key": mask_key,
        "pad": pad if isinstance(pad, int) else None,
        "token": next((i for i in range(vocabulary) if i not in special), 0),
    }


def dummy_inputs(
    model: nn.Module, plan: Mapping[str, Any], batch: int, length: int, mask: Tensor | None = None, device: Any = None
) -> dict[str, Any]:
    """Keyword arguments on which a suffix runs: constants of the right size, and the attention mask.

    Args:
        plan: of `plan_suffix`.
        batch, length: of the activations; `length` in tokens or frames.
        mask: (b, length) bool, True where a position is real; None for all.
        device: of the dummies, by default the model's.

    Raises:
        HookError: a mask that this model cannot take, or a row without any real position.
    """
    described = plan["inputs"]
    if device is None:
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    inputs: dict[str, Any] = dict(described["constants"])
    # The model's main input, not `inputs_embeds`: Wav2Vec2, HuBERT and ViT have none and take it without a word.
    for key, tensor in described["tensors"].items():
        sizes = [symbolic_shapes.size(d, batch, length) for d in tensor["tensor"]]
        kind = getattr(torch, tensor["dtype"])
        fill = described["token"] if key.endswith("input_ids") else 0
        inputs[key] = torch.full(sizes, fill, dtype=dtype if kind.is_floating_point else kind, device=device)
    return masked(inputs, described, batch, length, mask, device)


def _padded_tokens(ids: Tensor, mask: Tensor, described: Mapping[str, Any]) -> Tensor:
    """Padding tokens where the mask is False; models with a decoder have the end token at the last real position."""
    if described["pad"] is not None:
        ids = ids.masked_fill(~mask, described["pad"])
    if described["end"] is not None:
        last = (mask * torch.arange(1, mask.shape[1] + 1, device=mask.device)).argmax(1, keepdim=True)
        ids = ids.scatter(1, last, described["end"])
    return ids


def masked(
    inputs: Mapping[str, Any], described: Mapping[str, Any], batch: int, length: int, mask: Tensor | None, device: Any
) -> dict[str, Any]:
    """The inputs with attention mask, and padding tokens where the mask (b, length) is False."""
    inputs, formula, key_of_mask = dict(inputs), described["mask"], described.get("mask_key", _MASK)
    if formula is None:
        if mask is not None and not bool(mask.all()):
            raise HookError(
                "this model takes no mask here, so all positions must be real; make the lengths equal first"
            )
        return inputs
    full = torch.ones(batch, length, dtype=torch.bool, device=device) if mask is None else mask.to(device, torch.bool)
    if full.shape != (batch, length):
        raise HookError(f"the mask must be (b, t) = {(batch, length)}; got {tuple(full.shape)}")
    counts = full.sum(1)
    if mask is not None and not bool((counts > 0).all()):
        raise HookError("the mask has a row without any real position; leave that sample out")
    if formula == [0, 1, 0]:
        inputs[key_of_mask] = full.long()
        for key in described["tensors"]:
            if key.endswith("input_ids"):
                inputs[key] = _padded_tokens(inputs[key], full, described)
        return inputs
    frames = torch.arange(length, device=device)
    if mask is not None and not torch.equal(full, frames < counts[:, None]):
        raise HookError("an audio model takes padding on the right only; got a mask with padding elsewhere")
    samples = torch.arange(symbolic_shapes.size(formula, batch, length), device=device)
    real = formula[1] * counts + formula[2]
    inputs[key_of_mask] = (samples < real[:, None]).long()
    return inputs
