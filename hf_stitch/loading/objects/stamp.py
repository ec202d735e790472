"""A digest of a model in memory, by which caches and finished folders know it again.

Weights do not tell two models apart that differ in an activation function, or of which one has another `forward`.
"""

from __future__ import annotations

import functools
import json
import types
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers import PretrainedConfig

from hf_stitch.recipe.digest import digest
from hf_stitch.runtime.tensor_digest import digest_of_tensors

KNOWN = ("torch.", "transformers.", "hf_stitch.", "peft.", "accelerate.")
"""Packages whose code the versions in a cache key stand for."""
OF_ITS_PLACE = ("_name_or_path", "_commit_hash", "transformers_version")
NO_SETTINGS = ("training", "config", "generation_config", "name_or_path", "warnings_issued")
DEEPEST = 8  # levels of functions that hold functions; by hand, for one may hold itself


def stamp_of(model: nn.Module) -> str:
    """Hex digest of weights, classes, configuration, settings of all modules, and of code that no package stands for.

    A model that was loaded twice has one stamp, and so has its deep copy.
    """
    config = getattr(model, "config", None)
    told: dict[str, Any] = {
        "class": f"{type(model).__module__}.{type(model).__qualname__}",
        "weights": digest_of_tensors(model.state_dict()),
        "buffers": _unsaved(model),
        "parts": repr(model),
        "settings": {name: _settings(module) for name, module in model.named_modules()},
        "code": {f"{kind.__module__}.{kind.__qualname__}": _code_of(kind) for kind in _own_classes(model)},
    }
    if isinstance(config, PretrainedConfig):
        kept = {key: value for key, value in config.to_dict().items() if key not in OF_ITS_PLACE}
        told["config"] = _plain(kept)
        told["attention"] = str(getattr(config, "_attn_implementation", None))
    return digest(told)


def build_of(model: nn.Module) -> str:
    """Hex digest of what weights do not tell of how a model is built: classes, settings, buffers that are not saved."""
    settings = {name: _settings(module, code=False) for name, module in model.named_modules()}
    return digest([repr(model), settings, _unsaved(model)])


def _unsaved(model: nn.Module) -> dict[str, str]:
    """Digests of the buffers that are not saved, by name."""
    held = model.state_dict().keys()
    return {name: digest_of_tensors({"": one}) for name, one in model.named_buffers() if name not in held}


def stamp_of_tools(*tools: Any) -> str:
    """Hex digest of tokenizers, feature extractors and image processors: what they hold, wherever it came from."""
    return digest([_of_tool(one) for one in tools])


def _of_tool(tool: Any) -> Any:
    if tool is None:
        return None
    told: dict[str, Any] = {"class": type(tool).__name__}
    if hasattr(tool, "get_vocab"):
        inner = getattr(tool, "backend_tokenizer", None)
        told["words"] = sorted(tool.get_vocab().items()) if inner is None else _spelling(inner)
        kept = ("model_max_length", "padding_side", "truncation_side", "pad_token_id")
        told["settings"] = {name: repr(getattr(tool, name, None)) for name in kept}
        told["special"] = _plain(dict(tool.special_tokens_map))
    elif hasattr(tool, "to_dict"):
        told["settings"] = _plain({key: one for key, one in tool.to_dict().items() if key not in OF_ITS_PLACE})
    return told


def _spelling(tokenizer: Any) -> str:
    """A fast tokenizer without what its latest call set: how far it cuts and pads."""
    content = json.loads(tokenizer.to_str())
    return digest({key: one for key, one in content.items() if key not in ("truncation", "padding")})


def _settings(module: nn.Module, code: bool = True) -> dict[str, Any]:
    """Attributes of a module that are neither weights nor modules; without `code` of functions their names alone."""
    return {
        name: _plain(value) if code or not callable(value) else getattr(value, "__qualname__", type(value).__qualname__)
        for name, value in sorted(vars(module).items())
        if name[0] != "_" and name not in NO_SETTINGS
    }


def _plain(value: Any, level: int = 0) -> Any:
    """A value as plain data: what it holds where that is known, else of which type it is."""
    if level > DEEPEST:
        return "..."
    if isinstance(value, bool | int | float | str | type(None)):
        return repr(value)
    if isinstance(value, torch.Tensor):
        return digest_of_tensors({"": value})
    if isinstance(value, Mapping):
        return {str(key): _plain(one, level + 1) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one, level + 1) for one in value]
    if isinstance(value, set | frozenset):
        return sorted(str(_plain(one, level + 1)) for one in value)
    if isinstance(value, torch.dtype | torch.device | torch.Size):
        return str(value)
    if isinstance(value, functools.partial):
        return [_plain(one, level + 1) for one in (value.func, value.args, value.keywords)]
    if isinstance(value, types.FunctionType):
        return _code(value, level)
    if isinstance(value, types.BuiltinFunctionType | type):
        return f"{value.__module__}.{value.__qualname__}"
    return f"a {type(value).__module__}.{type(value).__qualname__}"


def _own_classes(model: nn.Module) -> list[type]:
    kinds = {kind: None for module in model.modules() for kind in type(module).__mro__}
    return [kind for kind in kinds if kind is not object and not f"{kind.__module__}.".startswith(KNOWN)]


def _code_of(kind: type) -> dict[str, Any]:
    found = {name: getattr(value, "__func__", getattr(value, "fget", value)) for name, value in vars(kind).items()}
    return {name: _code(value) for name, value in found.items() if isinstance(value, types.FunctionType)}


def _code(function: types.FunctionType, level: int = 0) -> Any:
    """What a function does, where it is not of a known package; with the values that it holds on to."""
    name = f"{function.__module__}.{function.__qualname__}"
    if name.startswith(KNOWN):
        return name
    cells = [cell.cell_contents for cell in function.__closure__ or () if _is_set(cell)]
    held = [_plain(one, level + 1) for one in cells]
    return [name, _bytecode(function.__code__), _plain(function.__defaults__ or (), level + 1), held]


def _bytecode(code: types.CodeType) -> list[Any]:
    inner = [_bytecode(one) if isinstance(one, types.CodeType) else _plain(one) for one in code.co_consts]
    return [code.co_code.hex(), list(code.co_names), inner]


def _is_set(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # of a name that is still to be given a value
        return False
