"""Two small classifiers of sensor recordings, of the shapes that Stroescu's experiment 2 (section 4.2) describes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput


class _SensorConfig(PreTrainedConfig):
    def __init__(self, timesteps: int = 100, channels: int = 6, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.timesteps, self.channels = int(timesteps), int(channels)
        self.layer_sizes = [self.timesteps * self.channels, self.num_labels]


class SensorLstmConfig(_SensorConfig):
    """Recordings of `timesteps` times `channels` numbers, an LSTM of `hidden_size` units, `num_labels` classes."""

    model_type = "hf_stitch_sensor_lstm"

    def __init__(self, hidden_size: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hidden_size = int(hidden_size)


class SensorTransformerConfig(_SensorConfig):
    """A convolution to `hidden_size` channels, `num_layers` blocks of self-attention, `num_labels` classes."""

    model_type = "hf_stitch_sensor_transformer"

    def __init__(
        self, hidden_size: int = 64, num_layers: int = 2, num_heads: int = 8, inner_size: int = 256, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.hidden_size, self.num_layers = int(hidden_size), int(num_layers)
        self.num_heads, self.inner_size = int(num_heads), int(inner_size)


class _SensorModel(PreTrainedModel):
    """Takes rows (b, timesteps * channels), timesteps outside."""

    base_model_prefix = "sensors"
    main_input_name = "inputs"

    def _init_weights(self, module: nn.Module) -> None:
        """Every module starts as torch makes it."""

    def recording(self, inputs: Tensor) -> Tensor:
        """(b, timesteps, channels)."""
        return inputs.to(self.dtype).unflatten(1, (self.config.timesteps, self.config.channels))

    def answer(self, logits: Tensor, labels: Tensor | None) -> SequenceClassifierOutput:
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)


class SensorLstmForSequenceClassification(_SensorModel):
    """`lstm`, hooked at its output (b, timesteps, hidden_size), and a linear `classifier` of all of that."""

    config_class = SensorLstmConfig

    def __init__(self, config: SensorLstmConfig) -> None:
        super().__init__(config)
        self.lstm = nn.LSTM(config.channels, config.hidden_size, batch_first=True)
        self.classifier = nn.Linear(config.timesteps * config.hidden_size, config.num_labels)
        self.post_init()

    def forward(self, inputs: Tensor, labels: Tensor | None = None) -> SequenceClassifierOutput:
        """Class scores of recordings (b, timesteps * channels); labels (b,) give a loss."""
        return self.answer(self.classifier(self.lstm(self.recording(inputs))[0].flatten(1)), labels)


class SensorBlock(nn.Module):
    """Self-attention and a feed-forward network, each with a norm behind its residual sum."""

    def __init__(self, config: SensorTransformerConfig) -> None:
        super().__init__()
        width, self.heads = config.hidden_size, config.num_heads
        self.mixed, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.inner, self.outer = nn.Linear(width, config.inner_size), nn.Linear(config.inner_size, width)
        self.first_norm, self.second_norm = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """(b, t, hidden_size) to the same shape."""
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.mixed(x).chunk(3, dim=-1)
        )
        seen = nn.functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        x = self.first_norm(x + self.out(seen))
        return self.second_norm(x + self.outer(torch.relu(self.inner(x))))


class SensorTransformerForSequenceClassification(_SensorModel):
    """`convolution`, `blocks.i`, hooked at (b, timesteps, hidden_size); a linear layer over time, one over features."""

    config_class = SensorTransformerConfig

    def __init__(self, config: SensorTransformerConfig) -> None:
        super().__init__(config)
        self.convolution = nn.Conv1d(config.channels, config.hidden_size, 3, padding=1)
        self.blocks = nn.ModuleList(SensorBlock(config) for _ in range(config.num_layers))
        self.over_time, self.classifier = (
            nn.Linear(config.timesteps, 1),
            nn.Linear(config.hidden_size, config.num_labels),
        )
        self.post_init()

    def forward(self, inputs: Tensor, labels: Tensor | None = None) -> SequenceClassifierOutput:
        """Class scores of recordings (b, timesteps * channels); labels (b,) give a loss."""
        x = self.convolution(self.recording(inputs).transpose(1, 2)).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        return self.answer(self.classifier(self.over_time(x.transpose(1, 2)).squeeze(2)), labels)


SENSORS = (
    (SensorLstmConfig, SensorLstmForSequenceClassification),
    (SensorTransformerConfig, SensorTransformerForSequenceClassification),
)
