"""Small networks as Hugging Face models, whose layers and single neurons can be hooked: tanh, and autoencoders."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, AutoModel

from hf_stitch.zoo.networks.autoencoder import ConvAutoencoderConfig, ConvAutoencoderModel
from hf_stitch.zoo.networks.sensors import SENSORS
from hf_stitch.zoo.networks.tanh import TanhNetworkConfig, TanhNetworkModel

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
