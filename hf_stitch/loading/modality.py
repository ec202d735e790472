"""What a model takes: sound, text, pictures, or rows of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from hf_stitch.hooks.input_shapes import main_input
from hf_stitch.loading.model_classes import class_of

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

Modality = Literal["audio", "image", "text", "vector"]
# By the main input's name in transformers; that of anything else is taken for numbers.
_MODALITIES: dict[str, Modality] = {
    "input_features": "audio",
    "input_ids": "text",
    "input_values": "audio",
    "pixel_values": "image",
}


def modality(model_or_config: PreTrainedModel | PretrainedConfig) -> Modality:
    """What kind of raw input the model takes; of a stitched model or an encoder-decoder what its first half takes."""
    return _MODALITIES.get(input_name(model_or_config), "vector")


def input_name(model_or_config: PreTrainedModel | PretrainedConfig) -> str:
    """Name of the forward's main input, such as `input_ids`."""
    config = getattr(model_or_config, "config", model_or_config)
    # Of a composite the part that reads the input decides.
    for part in ("source", "encoder"):
        inner = getattr(config, part, None)
        if hasattr(inner, "model_type"):
            return input_name(inner)
    model_class = class_of(config) if config is model_or_config else model_or_config
    name = str(getattr(model_class, "main_input_name", "input_ids"))
    return main_input(model_class) if name == "inputs" else name  # Perceiver's may be tokens or pixels
