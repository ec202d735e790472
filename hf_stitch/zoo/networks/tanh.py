"""Small fully connected tanh networks as Hugging Face models."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput


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
