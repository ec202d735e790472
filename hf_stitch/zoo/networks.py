"""Small networks as Hugging Face models, whose layers and single neurons can be hooked: tanh, and autoencoders."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput

from hf_stitch.zoo.sensors import SENSORS


class TanhNetworkConfig(PreTrainedConfig):
    """Configuration of a network with `layer_sizes` neurons, input and output included."""

    model_type = "hf_stitch_tanh"

    def __init__(self, layer_sizes: Sequence[int] = (1, 8, 8, 8, 1), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.layer_sizes = [int(size) for size in layer_sizes]


@dataclass
class TanhNetworkOutput(ModelOutput):
    """`loss`: mean squared error, if labels were given; `logits`: the network's values (b, d_out)."""

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None


class TanhNetworkModel(PreTrainedModel):
    """Linear layers `layers.i` with a tanh `activations.i` behind all but the last; both can be hooked."""

    config_class = TanhNetworkConfig
    base_model_prefix = "network"
    main_input_name = "inputs"

    def __init__(self, config: TanhNetworkConfig) -> None:
        super().__init__(config)
        sizes = config.layer_sizes
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.activations = nn.ModuleList(nn.Tanh() for _ in sizes[2:])
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            init.xavier_uniform_(module.weight)
            init.uniform_(module.bias, -0.5, 0.5)  # spreads the neurons over the inputs

    def forward(
        self, inputs: torch.Tensor, labels: torch.Tensor | None = None, return_dict: bool | None = None
    ) -> TanhNetworkOutput | tuple[torch.Tensor, ...]:
        """Evaluate inputs (b, d_in); labels (b, d_out) give a loss."""
        values = inputs.to(self.dtype)
        for layer, activation in zip(self.layers[:-1], self.activations, strict=True):
            values = activation(layer(values))
        values = self.layers[-1](values)
        loss = None if labels is None else nn.functional.mse_loss(values, labels.to(values.dtype).view_as(values))
        output = TanhNetworkOutput(loss=loss, logits=values)
        if return_dict is None:
            return_dict = self.config.return_dict
        return output if return_dict else output.to_tuple()


class ConvAutoencoderConfig(PreTrainedConfig):
    """Configuration of an autoencoder of grey pictures of `image_shape` (height, width), halved at each of `channels`.

    `layer_sizes` are the numbers of neurons of input, code and output.
    """

    model_type = "hf_stitch_autoencoder"

    def __init__(
        self,
        image_shape: Sequence[int] = (32, 32),
        channels: Sequence[int] = (8, 16, 32),
        code_size: int = 6,
        hidden_size: int = 64,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.image_shape = [int(size) for size in image_shape]
        self.channels = [int(count) for count in channels]
        self.code_size, self.hidden_size = int(code_size), int(hidden_size)
        pixels = math.prod(self.image_shape)
        self.layer_sizes = [pixels, self.code_size, pixels]


class ConvAutoencoderModel(PreTrainedModel):
    """`encoder`: convolutions and poolings, then dense layers to the code (b, code_size); `decoder`: the way back.

    Pictures come and go as rows of pixels in [0, 1].
    """

    config_class = ConvAutoencoderConfig
    base_model_prefix = "autoencoder"
    main_input_name = "inputs"

    def __init__(self, config: ConvAutoencoderConfig) -> None:
        super().__init__(config)
        shrunk = [size >> len(config.channels) for size in config.image_shape]
        deepest, hidden = config.channels[-1] * math.prod(shrunk), config.hidden_size
        down: list[nn.Module] = [nn.Unflatten(1, (1, *config.image_shape))]
        for before, here in itertools.pairwise([1, *config.channels]):
            down += [nn.Conv2d(before, here, 3, padding=1), nn.SiLU(), nn.MaxPool2d(2)]
        self.encoder = nn.Sequential(
            *down, nn.Flatten(), nn.Linear(deepest, hidden), nn.SiLU(), nn.Linear(hidden, config.code_size)
        )
        up: list[nn.Module] = [nn.Linear(config.code_size, hidden), nn.SiLU(), nn.Linear(hidden, deepest)]
        up.append(nn.Unflatten(1, (config.channels[-1], *shrunk)))
        for before, here in itertools.pairwise(config.channels[::-1]):
            up += [nn.SiLU(), nn.Upsample(scale_factor=2), nn.Conv2d(before, here, 3, padding=1)]
        up += [nn.SiLU(), nn.Upsample(scale_factor=2), nn.Conv2d(config.channels[0], 1, 5, padding=2)]
        self.decoder = nn.Sequential(*up, nn.Flatten(), nn.Sigmoid())
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Conv2d):
            init.kaiming_uniform_(module.weight, nonlinearity="relu")
            init.zeros_(module.bias)

    def forward(
        self, inputs: torch.Tensor, labels: torch.Tensor | None = None, return_dict: bool | None = None
    ) -> TanhNetworkOutput | tuple[torch.Tensor, ...]:
        """Rebuild pictures (b, pixels); labels (b, pixels), such as the pictures without noise, give a loss."""
        values = self.decoder(self.encoder(inputs.to(self.dtype)))
        loss = None if labels is None else nn.functional.mse_loss(values, labels.to(values.dtype))
        output = TanhNetworkOutput(loss=loss, logits=values)
        if return_dict is None:
            return_dict = self.config.return_dict
        return output if return_dict else output.to_tuple()


NETWORKS: tuple[tuple[Any, Any], ...] = (
    (TanhNetworkConfig, TanhNetworkModel),
    (ConvAutoencoderConfig, ConvAutoencoderModel),
    *SENSORS,
)


def class_called(name: str) -> Any:
    """The network's class of that name, None where there is none."""
    return next((model for _, model in NETWORKS if model.__name__ == name), None)


def register() -> None:
    """Make AutoConfig and AutoModel know these networks; calling it again changes nothing."""
    for config, model in NETWORKS:
        AutoConfig.register(config.model_type, config, exist_ok=True)
        AutoModel.register(config, model, exist_ok=True)
