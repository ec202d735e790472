"""Tiny models of pictures with random weights, saved with their image processors, and pictures as data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as tf
from tiny_models import IMAGE

CLASSES = {"id2label": {0: "dark", 1: "light"}, "label2id": {"dark": 0, "light": 1}}
STAGES = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}
# kind: configuration, class, a hook point behind which pictures of other sizes have other numbers of positions
NETWORKS: dict[str, tuple[Callable[..., Any], Any, str]] = {
    "resnet": (lambda **k: tf.ResNetConfig(**STAGES, **k), tf.ResNetForImageClassification, "resnet.encoder.stages.0"),
    "regnet": (
        lambda **k: tf.RegNetConfig(**STAGES, groups_width=4, **k),
        tf.RegNetForImageClassification,
        "regnet.encoder.stages.0",
    ),
    "bit": (
        lambda **k: tf.BitConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], num_groups=4, **k),
        tf.BitForImageClassification,
        "bit.encoder.stages.0",
    ),
    "convnext": (
        lambda **k: tf.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2, **k),
        tf.ConvNextForImageClassification,
        "convnext.encoder.stages.0",
    ),
    "mobilenet": (
        lambda **k: tf.MobileNetV2Config(depth_multiplier=0.1, min_depth=4, finegrained_output=False, **k),
        tf.MobileNetV2ForImageClassification,
        "mobilenet_v2.layer.3",
    ),
    "efficientnet": (
        lambda **k: tf.EfficientNetConfig(
            width_coefficient=0.2, depth_coefficient=0.1, hidden_dim=256, in_channels=[32, 16], out_channels=[16, 24],
            kernel_sizes=[3, 3], strides=[1, 2], num_block_repeats=[1, 1], expand_ratios=[1, 6],
            depthwise_padding=[], image_size=64, **k,
        ),
        tf.EfficientNetForImageClassification,
        "efficientnet.encoder.blocks.0",
    ),
    "swin": (
        lambda **k: tf.SwinConfig(
            embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=4, image_size=64, num_labels=2, **k
        ),
        tf.SwinForImageClassification,
        "swin.encoder.layers.0",
    ),
    "dinov2": (
        lambda **k: tf.Dinov2Config(**{a: b for a, b in IMAGE.items() if a != "intermediate_size"}, **k),
        tf.Dinov2ForImageClassification,
        "dinov2.encoder.layer.0",
    ),
}  # fmt: skip


def network(folder: Path, kind: str, size: int) -> Path:
    """Folder of a network that reads pictures of size x size, as its image processor makes them."""
    config, model_class, _ = NETWORKS[kind]
    torch.manual_seed(11)
    model_class(config(**CLASSES)).save_pretrained(folder)
    tf.ViTImageProcessor(size={"height": size, "width": size}).save_pretrained(folder)
    return folder


def pictures(folder: Path, fit: int = 24, test: int = 6) -> Path:
    """Folder of fit.jsonl and test.jsonl: columns picture, label, id; noise of 40 x 40, some of it dark."""
    from PIL import Image

    draw = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in (("fit", fit), ("test", test)):
        rows = []
        for i in range(count):
            noise = draw.integers(0, 90 + 160 * (i % 2), (40, 40, 3), dtype=np.uint8)
            Image.fromarray(noise).save(folder / f"{split}-{i}.png")
            rows.append({"picture": f"{split}-{i}.png", "label": ["dark", "light"][i % 2], "id": f"{split}{i}"})
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def seeing(source: Path, target: Path, seen: Path, hooks: tuple[str, str]) -> dict[str, Any]:
    """A recipe from one network of pictures to another."""
    columns = {"source": "picture", "label": "label", "id": "id"}
    return {
        "source": {"model": str(source), "hook": hooks[0]},
        "target": {"model": str(target), "hook": hooks[1]},
        "data": {name: {"dataset": str(seen / f"{name}.jsonl"), "columns": columns} for name in ("fit", "test")},
        "sequence": {"length": "resample"},
    }
