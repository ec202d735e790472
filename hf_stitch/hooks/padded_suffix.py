"""Run the suffix of a model on activations of unequal length so that each sample answers as it does alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from transformers.utils import ModelOutput

from hf_stitch.errors import ActivationError
from hf_stitch.hooks.generation import generate_from
from hf_stitch.hooks.padding import POSITIONS as POSITION_IDS
from hf_stitch.hooks.padding import Padding, Part, is_loss, rows_of, takes, together
from hf_stitch.hooks.position_limit import among
from hf_stitch.hooks.suffix import output_like, run_suffix


def positions_key(model: nn.Module, plan: Mapping[str, Any]) -> str | None:
    """The argument by which a suffix is told positions; None where its model takes none."""
    key = f"decoder_{POSITION_IDS}" if str(plan["inputs"].get("mask_key", "")).startswith("decoder_") else POSITION_IDS
    # Of activations as long as the input alone: positions of sound are made by the model itself.
    return key if plan["inputs"]["mask"] == [0, 1, 0] and takes(model, key) else None


def finished(
    model: nn.Module, plan: Mapping[str, Any], padding: Padding, values: Tensor, mask: Tensor, **kwargs: Any
) -> Any:
    """The model's output on `values` (b, t, m) at its hook point, of which `mask` (b, t) is real; see `run_suffix`.

    Raises:
        ActivationError: a loss is asked for of a batch that cannot run as one. HookError: as `run_suffix`.
    """
    batch, mode = len(values), padding.mode(mask, len(values))
    parts = padding.parts(mask, batch, mode)
    if parts is None:
        key = positions_key(model, plan)
        if mode == "positions" and key is not None and kwargs.get(key) is None:
            kwargs[key] = padding.positions(mask)
        return run_suffix(model, plan, values, mask, **kwargs)
    if len(parts) > 1 and (asked := [key for key, value in kwargs.items() if is_loss(key) and value is not None]):
        raise ActivationError(
            f"{asked[0]}: {type(model).__name__} {padding.told_of_parts()}, and no loss of the batch is the mean of "
            "theirs; give batches of one length, such as one sample a batch"
        )
    outputs = []
    for part in parts:
        own, real = _part_of(values, mask, part)
        outputs.append((part, run_suffix(model, plan, own, real, **rows_of(kwargs, part.rows, batch))))
    return _merged(outputs, batch, mask.shape[1])


def generated(
    model: nn.Module, plan: Mapping[str, Any], padding: Padding, values: Tensor, mask: Tensor, **kwargs: Any
) -> Any:
    """What the model generates from `values` (b, t, m) at its hook point; see `generate_from`.

    Raises:
        ActivationError: more than tokens is asked for of a batch that cannot run as one. HookError: as `generate_from`.
    """
    batch = len(values)
    prompt = plan["inject"] == "kept"
    parts = padding.for_generation().parts(mask, batch) if prompt else padding.parts(mask, batch)
    if parts is None:
        return generate_from(model, plan, values, mask, **kwargs)
    found = []
    for part in parts:
        own, real = _part_of(values, mask, part)
        with among(part.rows):
            tokens = generate_from(model, plan, own, real, **rows_of(kwargs, part.rows, batch))
        if isinstance(tokens, ModelOutput):
            if len(parts) > 1:
                raise ActivationError(
                    f"return_dict_in_generate: {type(model).__name__} {padding.told_of_parts()}; ask for tokens alone, "
                    "or give batches of one length, such as one sample a batch"
                )
            return tokens
        found.append((part, tokens))
    return _tokens_of(model, found, batch)


def _part_of(values: Tensor, mask: Tensor, part: Part) -> tuple[Tensor, Tensor]:
    rows = list(part.rows)
    return values[rows, part.start : part.stop], mask[rows, part.start : part.stop]


def _tokens_of(model: Any, found: Sequence[tuple[Part, Tensor]], batch: int) -> Tensor:
    """Tokens (b * k, t) of all parts, k answers to each sample, in the order of the batch."""
    settings = model.generation_config
    known = (settings.pad_token_id, settings.eos_token_id)
    filling = next((one[0] if isinstance(one, list) else one for one in known if one is not None), None)
    first_part, first = found[0]
    k, width = len(first) // len(first_part.rows), max(tokens.shape[1] for _, tokens in found)
    whole = first.new_full((batch * k, width), 0 if filling is None else int(filling))
    for part, tokens in found:
        place = [i * k + j for i in part.rows for j in range(k)]
        whole[place, : tokens.shape[1]] = tokens
    return whole


def _merged(found: Sequence[tuple[Part, Any]], batch: int, length: int) -> Any:
    """Outputs of the parts of a batch as one: tensors with a row a sample, and containers of such."""
    first = found[0][1]
    if isinstance(first, Tensor):
        own = first.ndim and all(len(value) == len(one.rows) for one, value in found)
        return together(found, batch, length) if own else None
    if isinstance(first, Mapping):
        fields = {key: _merged([(one, value[key]) for one, value in found], batch, length) for key in first}
        return output_like(first, {key: value for key, value in fields.items() if value is not None})
    if isinstance(first, tuple | list) and all(isinstance(one, Tensor) for one in first):
        return type(first)(_merged([(one, value[k]) for one, value in found], batch, length) for k in range(len(first)))
    return None  # keys and values, which end with the pass
