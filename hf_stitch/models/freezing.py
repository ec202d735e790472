"""Halves of which nothing is trained stay in evaluation mode: no dropout, no statistics that move."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer


def is_frozen(module: nn.Module) -> bool:
    """Whether nothing of a module is trained."""
    return not any(parameter.requires_grad for parameter in module.parameters())


def freeze(half: nn.Module) -> None:
    """Put a half in evaluation mode; its checkpointed layers are still computed again in the backward pass."""
    half.eval()
    for layer in half.modules():
        if isinstance(layer, GradientCheckpointingLayer) and layer.gradient_checkpointing:
            layer.training = True  # transformers checkpoints in training mode alone
            held: Any = layer._gradient_checkpointing_func
            if not isinstance(held, _EvaluatedCheckpoint):
                layer._gradient_checkpointing_func = _EvaluatedCheckpoint(layer, held)


class _EvaluatedCheckpoint:
    """A checkpoint in which a layer that is frozen runs in evaluation mode, in the backward pass as well."""

    def __init__(self, layer: nn.Module, checkpoint: Callable[..., Any]) -> None:
        self.layer, self.checkpoint = layer, checkpoint

    def __call__(self, forward: Callable[..., Any], *args: Any) -> Any:
        def evaluated(*given: Any) -> Any:
            self.layer.training = not is_frozen(self.layer)
            try:
                return forward(*given)
            finally:
                self.layer.training = True

        return self.checkpoint(evaluated, *args)
