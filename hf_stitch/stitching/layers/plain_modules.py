"""Modules of torch as plain data, from which they are built again: no pickle, and nothing is imported by a name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from hf_stitch.errors import ArtifactError

KNOWN: dict[str, tuple[str, ...]] = {
    "Identity": (),
    "Linear": ("in_features", "out_features", "bias"),
    "LayerNorm": ("normalized_shape", "eps", "elementwise_affine", "bias"),
    "RMSNorm": ("normalized_shape", "eps", "elementwise_affine"),
    "Dropout": ("p",),
    "AlphaDropout": ("p",),
    "ReLU": (),
    "ReLU6": (),
    "GELU": ("approximate",),
    "SiLU": (),
    "Mish": (),
    "SELU": (),
    "CELU": ("alpha",),
    "ELU": ("alpha",),
    "LeakyReLU": ("negative_slope",),
    "PReLU": ("num_parameters",),
    "Softplus": ("beta", "threshold"),
    "Softsign": (),
    "Softshrink": ("lambd",),
    "Hardshrink": ("lambd",),
    "Hardtanh": ("min_val", "max_val"),
    "Hardswish": (),
    "Hardsigmoid": (),
    "Tanh": (),
    "Tanhshrink": (),
    "Sigmoid": (),
    "LogSigmoid": (),
    "Softmax": ("dim",),
    "Softmin": ("dim",),
    "LogSoftmax": ("dim",),
    "GLU": ("dim",),
    "Threshold": ("threshold", "value"),
}
"""Classes of `torch.nn` that map timestep by timestep, with the arguments of their constructors that are kept."""
_WEIGHTS = ("bias",)  # arguments that ask for a weight, which the module then has under that name


def plain(module: nn.Module) -> dict[str, Any] | None:
    """JSON-able data from which `built` makes a module of the same build; None of a module that is not known here."""
    if type(module) is nn.Sequential:
        parts = {name: plain(part) for name, part in module.named_children()}
        known = not any(part is None for part in parts.values())
        return (
            {"class": "Sequential", "parts": [list(one) for one in parts.items()]} if known and _bare(module) else None
        )
    name = type(module).__name__
    if name not in KNOWN or type(module) is not getattr(nn, name) or not _bare(module):
        return None
    asked = {key: getattr(module, key) for key in KNOWN[name] if key not in _WEIGHTS}
    asked |= {key: getattr(module, key) is not None for key in KNOWN[name] if key in _WEIGHTS}
    if isinstance(module, nn.LayerNorm | nn.RMSNorm):
        asked["normalized_shape"] = list(module.normalized_shape)
    return {"class": name, **asked}


def _bare(module: nn.Module) -> bool:
    """Whether it is what its class makes: without hooks that change what it gives, and with the parts of its class."""
    hooks = (module._forward_hooks, module._forward_pre_hooks)
    own = isinstance(module, nn.Sequential) or not module._modules
    return not any(hooks) and "forward" not in vars(module) and own


def built(spec: Any) -> nn.Module:
    """The module that `plain` describes, its weights still to be loaded.

    Raises:
        ArtifactError: it describes none.
    """
    try:
        content: Mapping[str, Any] = dict(spec)
        name = content.pop("class")  # type: ignore[attr-defined]
        if name == "Sequential":
            made = nn.Sequential()
            for part, one in content["parts"]:
                made.add_module(str(part), built(one))
            return made
        if name not in KNOWN or set(content) != set(KNOWN[name]):
            raise ValueError(f"no module is known as {name!r} with {', '.join(map(str, content)) or 'no arguments'}")
        module: nn.Module = getattr(nn, name)(**content)
        return module
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise ArtifactError(f"the saved layer is damaged ({error}): compose or fit it again") from None
