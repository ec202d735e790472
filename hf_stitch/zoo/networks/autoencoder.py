"""Small convolutional autoencoders as Hugging Face models."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers import initialization as init

from hf_stitch.zoo.networks.tanh import TanhNetworkOutput


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
