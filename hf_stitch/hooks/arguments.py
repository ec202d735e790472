"""The arguments that a model takes, by name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

STARRED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def arguments_of(model: Any) -> Mapping[str, inspect.Parameter]:
    """The parameters of a model's forward (of a class that of its instances); of `*args, **kwargs` those handed on.

    A class of the user's that hands what it is given on to the class that it inherits from takes what that takes.
    """
    own = inspect.signature(model.forward).parameters
    kinds = {one.kind for one in own.values()}
    kind = model if isinstance(model, type) else type(model)
    if not kinds & {*STARRED} or kind.__module__.startswith("transformers."):
        return own
    found = {name: one for name, one in own.items() if one.kind not in STARRED}
    defining: list[Any] = [one for one in kind.__mro__ if "forward" in vars(one)]
    for base in defining[1:]:
        further = inspect.signature(base.forward).parameters
        found = {**{name: one for name, one in further.items() if one.kind not in STARRED}, **found}
        if base.__module__.startswith("transformers."):
            break
    found.pop("self", None)
    return found | {name: one for name, one in own.items() if one.kind in STARRED}
