"""A copy of a model that somebody holds, as it would come out of a folder: its own is never changed.

Adapters are merged into the copy, quantised weights are made whole again, and it is in evaluation mode.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from hf_stitch.errors import RecipeError
from hf_stitch.hooks.points import uncompiled
from hf_stitch.hooks.trace import copied

WRAPPERS = ("_orig_mod.", "module.", "base_model.model.", "0.auto_model.", "0.model.")
"""What torch.compile, DataParallel, PEFT and sentence-transformers put before the names of a model's modules."""


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside of torch.compile, DataParallel and DistributedDataParallel; adapters stay."""
    while True:
        inner = uncompiled(model)
        if isinstance(inner, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = inner.module
        if inner is model:
            return model
        model = inner


def base_of(model: nn.Module) -> nn.Module:
    """The model below all wrappers and adapters, of which a recipe names the class."""
    model = unwrapped(model)
    return unwrapped(model.get_base_model()) if _has_peft_around(model) else model  # type: ignore[operator]


def own_copy(model: nn.Module, name: str) -> tuple[nn.Module, list[str]]:
    """The copy, and what is to be told of it.

    Args:
        name: what it is called where something is told.

    Raises:
        RecipeError: adapters that cannot be merged, weights that cannot be made whole or are not there. HookError: it
            holds something that cannot be copied.
    """
    model, notes = unwrapped(model), []
    if any(one.is_meta for one in (*model.parameters(), *model.buffers())):
        raise RecipeError(f"{name}: some of its weights are not in memory (offloaded, or on `meta`): load it whole")
    made: Any = copied(model)
    if hasattr(model, "hf_device_map"):
        from accelerate.hooks import remove_hook_from_submodules

        remove_hook_from_submodules(made)
    if _has_peft_around(made):
        made = unwrapped(_merged(made, name))
        notes.append(f"{name}: its adapters were merged into a copy")
    elif _has_peft_inside(made):
        _merge_inside(made, name)
        notes.append(f"{name}: its adapters were merged into a copy")
    if _is_quantised(made):
        made = _whole(made, name)
        notes.append(f"{name}: its quantised weights were made whole again ({next(made.parameters()).dtype})")
    if isinstance(made, PreTrainedModel):
        _as_saved(made)
    for one in made.parameters():
        one.requires_grad_(one.is_floating_point() or one.is_complex())
        one.grad = None
    return made.eval(), notes


def _has_peft_around(model: nn.Module) -> bool:
    peft = sys.modules.get("peft")  # who holds such a model has imported it
    return peft is not None and isinstance(model, peft.PeftModel | peft.PeftMixedModel)


def _has_peft_inside(model: nn.Module) -> bool:
    tuners = sys.modules.get("peft.tuners.tuners_utils")
    return tuners is not None and any(isinstance(one, tuners.BaseTunerLayer) for one in model.modules())


def _merged(made: Any, name: str) -> nn.Module:
    kinds = ", ".join(sorted({str(getattr(one, "peft_type", "?")) for one in made.peft_config.values()}))
    try:
        merged: nn.Module = made.unload() if _is_disabled(made) else made.merge_and_unload()
    except Exception as error:  # each method says in its own way that it cannot
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RecipeError(
            f"{name}: its adapters ({kinds.replace('PeftType.', '')}) cannot be merged into the model ({first}); give "
            "one whose adapters can be, such as LoRA, or the model without them"
        ) from error
    return merged


def _merge_inside(made: Any, name: str) -> None:
    """Merge adapters that lie in the model itself (`add_adapter`, `inject_adapter_in_model`), in place."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    merge = not _is_disabled(made)
    for path, module in list(made.named_modules()):
        if not hasattr(module, "base_layer") and not hasattr(module, "unload_and_optionally_merge_module"):
            continue
        parent, _, last = path.rpartition(".")
        try:
            if hasattr(module, "unload_and_optionally_merge_module"):
                plain = module.unload_and_optionally_merge_module(merge=merge, safe_merge=False, adapter_names=None)
            elif isinstance(module, BaseTunerLayer):
                if merge:
                    module.merge()
                plain = module.get_base_layer()
            else:
                continue
        except Exception as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise RecipeError(f"{name}: the adapter at {path} cannot be merged into the model ({first})") from error
        setattr(made.get_submodule(parent), last, plain)
    if hasattr(made, "_hf_peft_config_loaded"):
        made._hf_peft_config_loaded = False
    vars(made).pop("peft_config", None)


def _is_disabled(model: nn.Module) -> bool:
    """Whether adapters are there and switched off, so that the model answers as without them."""
    return any(getattr(one, "disable_adapters", False) is True for one in model.modules() if hasattr(one, "base_layer"))


def _is_quantised(model: nn.Module) -> bool:
    named = getattr(getattr(model, "config", None), "quantization_config", None) is not None
    return named or getattr(model, "hf_quantizer", None) is not None or bool(_packed(model))


def _packed(model: nn.Module) -> list[str]:
    """Names of what torch itself has quantised."""
    return [
        name
        for name, one in model.state_dict().items()
        if name.endswith("_packed_params") or (isinstance(one, Tensor) and one.is_quantized)
    ]


def _whole(made: Any, name: str) -> nn.Module:
    todo = "load it without quantisation (no `quantization_config`), in bfloat16 if memory is short"
    if packed := _packed(made):
        raise RecipeError(f"{name}: torch has quantised it ({packed[0]}, ...), and its weights cannot be had; {todo}")
    told = getattr(getattr(made.config, "quantization_config", None), "quant_method", None)
    try:
        made = made.dequantize()
    except Exception as error:  # most methods have no way back, and each says so in its own way
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        method = getattr(told, "value", told) or "a method that is not named"
        raise RecipeError(f"{name}: quantised by {method}, which cannot be undone ({first}); {todo}") from error
    if hasattr(made.config, "quantization_config"):
        del made.config.quantization_config
    made.hf_quantizer = None
    made.is_quantized = False
    whole: nn.Module = made
    return whole


def _as_saved(made: PreTrainedModel) -> None:
    """What `save_pretrained` writes into a configuration, and loading finds there."""
    made.config.architectures = [type(made).__name__]
    dtype = made.dtype if made.dtype.is_floating_point else torch.float32
    for config in (made.config, *(getattr(made.config, key, None) for key in made.config.sub_configs)):
        if config is not None:
            config.dtype = dtype
    if any(getattr(one, "gradient_checkpointing", False) for one in made.modules()):
        # Later versions of transformers have renamed it.
        getattr(made, "activation_checkpointing_disable", made.gradient_checkpointing_disable)()
