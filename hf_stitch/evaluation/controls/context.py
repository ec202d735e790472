"""What a control is told, and the controls that there are."""

from __future__ import annotations

import pkgutil
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from hf_stitch.activations.observations import Observations
from hf_stitch.evaluation.answer_kinds.base import AnswerKind
from hf_stitch.evaluation.target_half import TargetHalf
from hf_stitch.recipe.recipe import Recipe


@dataclass(frozen=True)
class ControlContext:
    """One split of a recipe's observations.

    Attributes:
        own: the target's own answers there, as `kind` reads them.
        truth: what should be answered, where the data say so.
        transcripts: what the source recognised, where it writes texts.
        half: the rest of a causal target that is hooked in the middle.
    """

    recipe: Recipe
    observations: Observations
    split: str
    kind: AnswerKind
    own: Any
    truth: Any
    transcripts: list[str] | None
    half: TargetHalf | None = None


class Control(Protocol):
    """A file of this folder."""

    ORDER: int

    def answers(self, context: ControlContext) -> dict[str, Any]: ...


def controls() -> list[Control]:
    """All controls of this folder, in their order."""
    # Found, not listed: a new control is a new file.
    package = import_module(__package__)
    modules = [import_module(f"{__package__}.{one.name}") for one in pkgutil.iter_modules(package.__path__)]
    return sorted((one for one in modules if hasattr(one, "ORDER")), key=lambda one: one.ORDER)
