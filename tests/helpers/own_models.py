"""Models that only their author has: no class and no configuration of transformers builds them."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import transformers as tf
from torch import Tensor, nn
from transformers.modeling_outputs import SequenceClassifierOutput


class OwnConfig(tf.PreTrainedConfig):
    model_type = "own_bag"

    def __init__(self, vocab_size: int = 30, width: int = 12, **kwargs: Any) -> None:
        self.vocab_size, self.width = vocab_size, width
        super().__init__(**kwargs)


class OwnBag(tf.PreTrainedModel):
    """A classifier of words, whose name does not say so and whose configuration is its own."""

    config_class = OwnConfig

    def __init__(self, config: OwnConfig) -> None:
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, config.width)
        self.hidden = nn.Linear(config.width, config.width)
        self.head = nn.Linear(config.width, 2)
        self.post_init()

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, labels: Tensor | None = None
    ) -> SequenceClassifierOutput:
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        states = torch.tanh(self.hidden(self.words(input_ids)))
        # Of each text alone: sums over padding would differ in their last bits.
        rows = (states * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)
        return SequenceClassifierOutput(logits=self.head(rows))


class Sentiment(tf.BertForSequenceClassification):
    """A class of the user's over a configuration of transformers."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output = super().forward(*args, **kwargs)
        output.logits = 2 * output.logits
        return output


class Perceptron(nn.Module):
    """Numbers to numbers, with a buffer that is not saved."""

    def __init__(self, sizes: tuple[int, ...] = (4, 16, 16, 3), slope: float = 1.5) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.register_buffer("slope", torch.tensor(slope), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = torch.tanh(self.slope * layer(x))
        return self.layers[-1](x)


class Words(nn.Module):
    """Tokens to classes; the mask is its own business."""

    def __init__(self, vocabulary: int, width: int = 12, classes: int = 2) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.hidden = nn.Linear(width, width)
        self.head = nn.Linear(width, classes)

    def forward(self, tokens: Tensor, attention_mask: Tensor) -> Tensor:
        states = torch.tanh(self.hidden(self.words(tokens)))
        return self.head((states * attention_mask.unsqueeze(-1)).sum(1) / attention_mask.sum(1, keepdim=True))


class SentenceTransformer(nn.Module):
    """What stands for an object of that library, which is known by its name: it saves what a folder holds."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def save_pretrained(self, path: str) -> None:
        shutil.copytree(self.folder, path, dirs_exist_ok=True)


class Packed(nn.Module):
    """A linear layer in whole numbers, as quantisation leaves it."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        scale = linear.weight.detach().abs().max() / 127
        self.register_buffer("packed", (linear.weight.detach() / scale).round().to(torch.int8))
        self.register_buffer("scale", scale)
        self.bias = linear.bias

    def linear(self) -> nn.Linear:
        found = nn.Linear(self.packed.shape[1], self.packed.shape[0])
        found.weight.data, found.bias = self.packed.float() * self.scale, self.bias
        return found

    def forward(self, rows: Tensor) -> Tensor:
        return nn.functional.linear(rows, self.packed.float() * self.scale, self.bias)


class Quantizer:
    """The part of a quantiser of transformers that is asked for: the way back."""

    def dequantize(self, model: nn.Module, dtype: Any = None) -> nn.Module:
        for name, module in list(model.named_modules()):
            if isinstance(module, Packed):
                parent, _, last = name.rpartition(".")
                setattr(model.get_submodule(parent), last, module.linear())
        return model


class OneWay:
    def dequantize(self, model: nn.Module, dtype: Any = None) -> nn.Module:
        raise NotImplementedError("odd4bit has no implementation of `dequantize`")


def quantised(model: tf.PreTrainedModel, path: str, quantizer: Any) -> tf.PreTrainedModel:
    """The model with one linear layer in whole numbers."""
    parent, _, last = path.rpartition(".")
    owner = model.get_submodule(parent)
    setattr(owner, last, Packed(getattr(owner, last)))
    model.hf_quantizer, model.is_quantized = quantizer, True
    return model


def beheaded(model: tf.PreTrainedModel) -> tf.PreTrainedModel:
    """A classifier with another head than its configuration builds."""
    width = model.config.hidden_size
    model.classifier = nn.Sequential(nn.Linear(width, 8), nn.ReLU(), nn.Linear(8, 2))
    return model
