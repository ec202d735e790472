"""Inputs of a model: random ones to probe it, and dummies of the right size to run its suffix on."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hf_stitch.errors import HookError, ProbeError
from hf_stitch.hooks import symbolic_shapes
from hf_stitch.hooks.arguments import arguments_of
from hf_stitch.hooks.given_inputs import GivenInput, Maker, constant_in
from hf_stitch.hooks.input_shapes import PIXELS, float_shape, main_input, special_ids, vocabulary
from hf_stitch.hooks.points import like, uncompiled
from hf_stitch.hooks.trace import RUNS, MakeInputs

# States kept from call to call have no place in a stitched model. Layer 0 is where a key-value cache counts its length:
# behind a stub that stays 0, and padded generation comes out wrong (logits were seen to be off by 9.8).
_SWITCHES = ("use_cache", "use_mems")
_MASK = "attention_mask"
_STARRED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
KNOWN = (*PIXELS, "input_values", "input_features", "inputs")
"""Names of float inputs of which configurations say how large they are."""


def make_inputs_for(
    model: nn.Module,
    given: Mapping[str, GivenInput] | None = None,
    sizes: Mapping[str, tuple[int, ...]] | None = None,
) -> MakeInputs:
    """Valid random inputs of a model, from its `main_input_name`, its config and those inside it.

    Args:
        given: inputs of which the configuration says nothing, or something else.
        sizes: shapes of one sample of an input, as its processor makes it, such as {"pixel_values": (3, 160, 160)}.

    Returns:
        make(batch, length) -> keyword arguments: `input_ids` (batch, length) random ordinary tokens; raw audio of
        `length` frames; `input_features`; `pixel_values` at the config's size, or 32 pixels a step of `length` for
        networks that have none; otherwise float vectors (batch, width) as wide as `config.layer_sizes[0]` or the first
        nn.Linear; and whatever else the model cannot do without. The same arguments give the same numbers.

    Raises:
        ProbeError: nothing of this is known of the model; write a `make_inputs` of your own.
    """
    model = uncompiled(model)
    accepted = arguments_of(model)
    switches = switched_off(model)
    given = given or {}
    makers = {name: _maker(model, name, sizes or {}) for name in _wanted(model, accepted) if name not in given}
    makers |= {name: one.maker(model) for name, one in given.items()}

    def make(batch: int, length: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(1_000_003 * batch + length)  # one seed for each size in use
        return {**switches, **{name: maker(batch, length, generator) for name, maker in makers.items()}}

    return make


def switched_off(model: nn.Module) -> dict[str, bool]:
    """Arguments of a model that keep it from handing on states of this call for the next."""
    accepted = arguments_of(model)
    return {name: False for name in _SWITCHES if name in accepted}


def _wanted(model: nn.Module, accepted: Mapping[str, inspect.Parameter]) -> list[str]:
    """The inputs without which a model does not run, the main one first."""
    config = getattr(model, "config", None)
    key = main_input(model)
    found = [key]
    if getattr(config, "is_encoder_decoder", False) and "decoder_input_ids" in accepted and vocabulary(config, True):
        found.append("decoder_input_ids")
    towers = {
        "image": ("pixel_values",),
        "video": ("pixel_values", "pixel_values_videos"),
        "audio": ("input_features", "input_values"),
    }
    for kind, names in towers.items():  # of models with two, both of which run: CLIP, CLAP, X-CLIP
        if hasattr(model, "get_text_features") and hasattr(model, f"get_{kind}_features"):
            found += [name for name in names if name in accepted][:1]
    required = [name for name, one in accepted.items() if one.default is one.empty and one.kind not in _STARRED]
    return list(dict.fromkeys([*found, *(name for name in required if name != "self")]))


def _maker(model: nn.Module, name: str, sizes: Mapping[str, tuple[int, ...]]) -> Maker:
    """What makes one input.

    Raises:
        ProbeError: nothing is known of it.
    """
    config = getattr(model, "config", None)
    device, dtype = like(model).device, like(model).dtype
    size = vocabulary(config, decoder=name.startswith("decoder_"))
    if name.endswith("input_ids") and size is not None:
        return lambda batch, length, draw: _random_tokens(config, size, batch, length, draw).to(device)
    if name.endswith("_mask"):
        return lambda batch, length, _: torch.ones(batch, length, dtype=torch.long, device=device)
    shape = None if name.endswith("input_ids") else float_shape(model, config, name, sizes)
    main = main_input(model)
    if shape is None or (name not in (main, *KNOWN) and name not in sizes):
        kind = type(model).__name__
        known = "expected tokens, audio, pixels or vectors"
        raise ProbeError(
            f"no default probe inputs for {kind} with main input {main!r}"
            + (f"; {known}" if name == main else f", which needs {name} too")
        )

    def random(batch: int, length: int, draw: torch.Generator) -> Tensor:
        return torch.randn([symbolic_shapes.size(d, batch, length) for d in shape], generator=draw).to(device, dtype)

    return random


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


def describe_inputs(
    model: nn.Module, made: list[dict[str, Any]], given: Collection[str] = (), mask_key: str = _MASK
) -> dict[str, Any]:
    """JSON description of a model's inputs, from those made at `RUNS`: shapes, switches, mask, padding.

    Args:
        given: inputs that are real when a suffix runs. mask_key: name of the mask of the inputs that are not.
    """
    config = getattr(model, "config", None)
    tensors: dict[str, Any] = {}
    constants: dict[str, Any] = {}
    for key, value in made[0].items():
        if key in given:
            continue
        fitted = symbolic_shapes.fit([symbolic_shapes.record(inputs.get(key)) for inputs in made], RUNS)
        is_tensor = fitted is not None and "tensor" in fitted
        constant = constant_in(value, fitted["tensor"]) if is_tensor else None
        if constant is None and key.startswith("decoder_") and not mask_key.startswith("decoder_"):
            continue
        if is_tensor and key != _MASK:
            told = constant is not None and (constant or key.endswith("input_ids"))  # others are filled with 0 anyway
            tensors[key] = fitted | ({"fill": constant} if told else {})
        elif fitted is not None and "value" in fitted:
            constants[key] = fitted["value"]
    pad = getattr(config, "pad_token_id", None)
    special, tokens = special_ids(config), vocabulary(config) or 1
    mask = None
    if tensors and mask_key in arguments_of(model):
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
        "token": next((i for i in range(tokens) if i not in special), 0),
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
    own = like(model)
    device, dtype = own.device if device is None else device, own.dtype
    inputs: dict[str, Any] = dict(described["constants"])
    # The model's main input, not `inputs_embeds`: Wav2Vec2, HuBERT and ViT have none and take it without a word.
    for key, tensor in described["tensors"].items():
        sizes = [symbolic_shapes.size(d, batch, length) for d in tensor["tensor"]]
        kind = getattr(torch, tensor["dtype"])
        fill = tensor.get("fill", described["token"] if key.endswith("input_ids") else 0)
        filled = torch.tensor(fill, dtype=dtype if kind.is_floating_point else kind, device=device)
        inputs[key] = filled.expand(sizes).clone()
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
            if key.endswith("input_ids") and inputs[key].shape == full.shape:
                inputs[key] = _padded_tokens(inputs[key], full, described)
        return inputs
    frames = torch.arange(length, device=device)
    if mask is not None and not torch.equal(full, frames < counts[:, None]):
        raise HookError("an audio model takes padding on the right only; got a mask with padding elsewhere")
    samples = torch.arange(symbolic_shapes.size(formula, batch, length), device=device)
    real = formula[1] * counts + formula[2]
    inputs[key_of_mask] = (samples < real[:, None]).long()
    return inputs
