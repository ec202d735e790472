"""Generate text from the suffix of a model.

Two places allow it without changing what the model is. A hook point inside the encoder of an encoder-decoder: the rest
of the encoder runs once, the decoder is whole. And the token embedding of a causal language model: the activations are
the prompt, and every later token passes through the whole model. At a deeper point of a causal model the blocks before
it hold no keys and values of the prompt: new tokens have activations there only from whoever gives those of the prompt,
who has to run again for each of them. That is a stitched model as a whole, see `hf_stitch.models.step_by_step`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hf_stitch.errors import HookError
from hf_stitch.hooks.finite_logits import refusing_nan
from hf_stitch.hooks.input_paths import streams
from hf_stitch.hooks.points import HookPoint, canonical, uncompiled
from hf_stitch.hooks.position_limit import within_positions
from hf_stitch.hooks.probe_inputs import make_inputs_for
from hf_stitch.hooks.suffix import run_suffix, starting, whole_plan
from hf_stitch.hooks.trace import COMBOS, MakeInputs, ModelTrace, copied, quiet

Way = Literal["encoder", "prompt", "middle"]
_OTHER_INPUTS = ("pixel_values", "input_features", "input_values")


def generation_way(model: nn.Module, point: HookPoint) -> Way:
    """How a model generates from activations at a hook point: `encoder`, `prompt`, or in the `middle`, step by step.

    Raises:
        HookError: it does not generate at all, or not from there.
    """
    model = uncompiled(model)
    kind, name = type(model).__name__, point.module
    if not callable(getattr(model, "can_generate", None)) or not model.can_generate():  # type: ignore[operator]
        raise HookError(
            f"{kind} does not generate; choose a target class with a language model, such as ...ForCausalLM"
        )
    if getattr(model.config, "is_encoder_decoder", False):
        encoder = _name_of(model, "get_encoder")
        if encoder is not None and (name == encoder or name.startswith(f"{encoder}.")):
            return "encoder"
        raise HookError(
            f"{kind} generates from activations inside its encoder ({encoder}); {name} lies outside: its decoder "
            "would have to run again for every token from activations that are given only once"
        )
    embedding = _name_of(model, "get_input_embeddings")
    if name != embedding:
        beside = [key for key in _OTHER_INPUTS if key in inspect.signature(model.forward).parameters]
        if beside:
            raise HookError(
                f"{kind} generates from activations at its token embedding ({embedding}); at {name} it would have to "
                f"be given its {beside[0]} again for every token: hook {embedding}, or a model of text alone"
            )
        return "middle"
    # by the same signature transformers decides whether `generate` takes them
    own: Any = model
    if "inputs_embeds" not in inspect.signature(own.prepare_inputs_for_generation).parameters:
        raise HookError(
            f"{kind} does not generate from activations at its token embedding: its `generate` takes tokens alone, no "
            "inputs_embeds; choose a target of another family, or compare its logits instead of its texts"
        )
    return "prompt"


def _name_of(model: nn.Module, getter: str) -> str | None:
    """The name of the part that one of a model's own methods gives, None where it has none."""
    try:
        part = getattr(model, getter)()
    except (AttributeError, NotImplementedError):
        return None
    return next((name for name, other in model.named_modules() if other is part), None)


def plan_prompt(model: nn.Module, point: HookPoint, make_inputs: MakeInputs | None = None) -> dict[str, Any] | None:
    """The suffix plan of a causal language model that takes activations as its prompt; None of any other.

    Nothing is left out, since every new token needs its embedding.

    Args:
        make_inputs: (batch, length) -> keyword arguments; `make_inputs_for(model)` by default.

    Raises:
        HookError: what the embedding gives is not what the model takes as `inputs_embeds`.
    """
    model = uncompiled(model)
    try:
        if generation_way(model, point) != "prompt":
            return None
    except HookError:
        return None
    model = copied(model)
    make = make_inputs or make_inputs_for(model)
    trace = ModelTrace(model, make)
    point = trace.point(canonical(model, point.module), point.output)
    plan = whole_plan(model, point, trace, streams(model, point, make)[0]) | {"inject": "kept"}
    with quiet(model):
        batch, length = COMBOS[0]
        generator = torch.Generator().manual_seed(0)
        width = plan["point"]["width"]
        values = torch.randn(batch, length, width, generator=generator).to(next(model.parameters()))
        same = torch.equal(run_suffix(model, plan, values).logits, model(inputs_embeds=values, use_cache=False).logits)
    if not same:
        raise HookError(f"{point.module} does not give what {type(model).__name__} takes as inputs_embeds")
    return plan


def generate_from(
    model: nn.Module, plan: Mapping[str, Any], values: Tensor, mask: Tensor | None = None, **kwargs: Any
) -> Any:
    """What the model generates when it has `values` (b, t, m) at its hook point.

    Args:
        model: cut by `apply_suffix_plan`, or whole. plan: of `plan_suffix`, or of `plan_prompt`.
        mask: (b, t) bool, True where a position is real.
        kwargs: for the model's own `generate`: `num_beams`, `max_new_tokens`, `generation_config`, ...

    Returns:
        As the model's `generate`: tokens (b, t'), of a causal model only the new ones.

    Raises:
        HookError: the model does not generate from this hook point, or not so many tokens. ActivationError: its logits
            are NaN.
    """
    own: Any = uncompiled(model)
    point = HookPoint.from_dict(plan["point"])
    way = generation_way(own, point)
    if way == "middle":
        raise HookError(
            f"{type(own).__name__} has no activations of new tokens at {point.module}: they come from the source, step "
            "by step; use `generate` of the stitched model"
        )
    prompted = way == "prompt"
    asked = _new_tokens(own, kwargs, values.shape[1])
    # The last new token takes no position: nothing follows it.
    reserved = max(asked - 1, 0) if prompted else 0
    given = (
        {} if prompted else {"decoder_input_ids": torch.zeros(len(values), 1, dtype=torch.long, device=values.device)}
    )
    try:
        return within_positions(model, plan, values, mask, partial(_generated, own, plan, kwargs), given, reserved)
    except IndexError as error:  # of a decoder, whose positions are those of the new tokens alone
        kind = type(own).__name__
        raise HookError(
            f"{kind} has too few positions for {asked} new tokens ({error}); ask for fewer (max_new_tokens)"
        ) from error


def _new_tokens(model: Any, asked: Mapping[str, Any], prompt: int) -> int:
    """The most tokens that `generate` makes behind a prompt so long."""
    settings = asked.get("generation_config") or model.generation_config
    new, whole = (asked.get(name, getattr(settings, name, None)) for name in ("max_new_tokens", "max_length"))
    if new is not None:
        return int(new)
    return 20 if whole is None else max(int(whole) - prompt, 1)  # 20 as transformers has it


def _generated(own: Any, plan: Mapping[str, Any], kwargs: dict[str, Any], values: Tensor, mask: Tensor | None) -> Any:
    point = HookPoint.from_dict(plan["point"])
    kwargs = refusing_nan(own, kwargs)
    if generation_way(own, point) == "prompt":
        if plan["inject"] != "kept":
            raise HookError(f"{point.module} was cut out with its weights; make the plan with plan_prompt")
        if mask is None:
            mask = torch.ones(values.shape[:2], dtype=torch.bool, device=values.device)
        values, mask = left_padded(values, mask)
        return own.generate(inputs_embeds=values.to(own.dtype), attention_mask=mask.long(), **kwargs)
    # The encoder stays, of stubs where it was cut: `generate` runs it once on its main input and keeps the states.
    with starting(own, plan, values, mask) as inputs:
        main = inputs[next(iter(plan["inputs"]["tensors"]))]
        extra = {key: inputs[key] for key in ("attention_mask",) if key in inputs}
        return own.generate(main, **{**extra, **kwargs})


def left_padded(values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Values (b, t, m) and mask (b, t) with each row's padding before its real positions, as generation needs it."""
    # New tokens come after the last position: with padding there they would follow padding.
    order = mask.long().argsort(dim=1, stable=True)
    rows = torch.arange(len(values), device=values.device)[:, None]
    values, mask = values[rows, order], mask[rows, order]
    longest = int(mask.sum(1).max())
    return values[:, -longest:], mask[:, -longest:]
