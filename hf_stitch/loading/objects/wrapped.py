"""A plain `torch.nn.Module` as a Hugging Face model: what it takes under transformers' names, and what it answers.

The module lies in it as `module`, so that its layer `layers.0` is the hook point `module.layers.0`. How it is built no
configuration says: who loads it gives one of the same build.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, SequenceClassifierOutput
from transformers.utils import ModelOutput

from hf_stitch.errors import ArtifactError

INSIDE = "module."


class ModuleConfig(PretrainedConfig):
    """Configuration of a wrapped module.

    Args:
        module: name of its class, with that of its Python module. vocab_size: of one that reads tokens.
    """

    model_type = "hf_stitch_module"

    def __init__(self, module: str = "", vocab_size: int | None = None, **kwargs: Any) -> None:
        self.module, self.vocab_size = module, vocab_size
        kwargs.setdefault("problem_type", "regression")
        super().__init__(**kwargs)


class WrappedModule(PreTrainedModel):
    """What the classes below share; which of them it is says what the module takes."""

    config_class = ModuleConfig
    base_model_prefix = ""

    def __init__(self, config: ModuleConfig, module: nn.Module | None = None) -> None:
        super().__init__(config)
        if module is None:
            raise ArtifactError(f"{config.module} is no model of transformers: nobody but you knows how it is built")
        self.module = module
        for part in module.modules():  # nothing is drawn at random
            part._is_hf_initialized = True  # type: ignore[assignment]
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Nothing is drawn at random."""

    def _answer(self, *args: Any, **kwargs: Any) -> ModelOutput:
        """What the module answers: (b, k) as logits, states (b, t, m) as the last hidden state."""
        found = self.module(*args, **kwargs)
        if isinstance(found, ModelOutput):
            return found
        if isinstance(found, Mapping):
            return ModelOutput(found)
        first = next((one for one in found if isinstance(one, Tensor)), None) if isinstance(found, tuple) else found
        if not isinstance(first, Tensor):
            raise ArtifactError(f"{self.config.module} answers with {type(found).__name__}; expected a tensor")
        return SequenceClassifierOutput(logits=first) if first.ndim == 2 else BaseModelOutput(last_hidden_state=first)


class VectorModule(WrappedModule):
    """Reads numbers (b, d)."""

    main_input_name = "inputs"

    def forward(self, inputs: Tensor) -> ModelOutput:
        return self._answer(inputs.to(self.dtype))


class TextModule(WrappedModule):
    """Reads tokens (b, t), and is told which of them are real."""

    main_input_name = "input_ids"

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> ModelOutput:
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        return self._answer(input_ids, attention_mask=mask)


class UnmaskedTextModule(WrappedModule):
    """Reads tokens (b, t)."""

    main_input_name = "input_ids"

    def forward(self, input_ids: Tensor) -> ModelOutput:
        return self._answer(input_ids)


class ImageModule(WrappedModule):
    """Reads pictures (b, c, h, w)."""

    main_input_name = "pixel_values"

    def forward(self, pixel_values: Tensor) -> ModelOutput:
        return self._answer(pixel_values)


class SoundModule(WrappedModule):
    """Reads sound (b, t)."""

    main_input_name = "input_values"

    def forward(self, input_values: Tensor) -> ModelOutput:
        return self._answer(input_values)


CLASSES = {kind.__name__: kind for kind in (VectorModule, TextModule, UnmaskedTextModule, ImageModule, SoundModule)}


def kind_for(module: nn.Module, modality: str) -> str:
    """Name of the wrapper's class for a module that takes text, image, audio, or numbers (vector)."""
    if modality == "text" and "attention_mask" not in inspect.signature(module.forward).parameters:
        return UnmaskedTextModule.__name__
    return {"text": TextModule, "image": ImageModule, "audio": SoundModule}.get(modality, VectorModule).__name__


def wrapped(module: nn.Module, kind: str, config: ModuleConfig | None = None, **known: Any) -> WrappedModule:
    """The module as a model of that kind; what is `known` goes into its configuration, where none is there."""
    if config is None:
        embedding = next((one for one in module.modules() if isinstance(one, nn.Embedding)), None)
        size = None if embedding is None or "Text" not in kind else embedding.num_embeddings
        config = ModuleConfig(qualified(module), vocab_size=size, **known)
        config.dtype = next((one.dtype for one in module.parameters() if one.is_floating_point()), torch.float32)
        config.architectures = [kind]
    return CLASSES[kind](config, module).eval()


def qualified(model: nn.Module) -> str:
    """The name of a model's class with that of its Python module."""
    return f"{type(model).__module__}.{type(model).__qualname__}"


def register() -> None:
    """Make AutoConfig know wrapped modules; calling it again changes nothing."""
    from transformers import AutoConfig

    AutoConfig.register(ModuleConfig.model_type, ModuleConfig, exist_ok=True)
