"""Stitched models put together by hand from tiny networks with random weights: no fit, no downloads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers as tf
from tiny_models import tiny

from hf_stitch.activations.activation_set import ActivationSet
from hf_stitch.activations.hooked_model import HookedModel
from hf_stitch.experiments.output_folder import save_model
from hf_stitch.hooks.probe_inputs import make_inputs_for
from hf_stitch.hooks.trace import probe
from hf_stitch.loading.modality import input_name, modality
from hf_stitch.loading.processors import Preparer
from hf_stitch.models.assembly import cut
from hf_stitch.models.configuration_stitched import StitchedConfig
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.recipe.side import Side
from hf_stitch.stitching.layers.fit_layer import fit_layer
from hf_stitch.stitching.lengths.length_rule import LengthRule

RATE = 16_000


def words(start: str = "w", side: str = "right") -> Any:
    """A tokenizer of 60 words: <s> <pad> </s> <unk>, then w4 to w59."""
    from tokenizers import Tokenizer, pre_tokenizers
    from tokenizers.models import WordLevel

    known = ["<s>", "<pad>", "</s>", "<unk>", *(f"{start}{i}" for i in range(4, 60))]
    inner = Tokenizer(WordLevel({word: i for i, word in enumerate(known)}, "<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    return tf.PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>",
        padding_side=side, model_max_length=32,
    )  # fmt: skip


def letters(folder: Path) -> Any:
    """The tokenizer of a CTC head with 12 classes."""
    import json

    file = folder / "letters.json"
    file.write_text(
        json.dumps({letter: i for i, letter in enumerate(["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefg"])})
    )
    return tf.Wav2Vec2CTCTokenizer(str(file))


def preparer(model: Any, tokenizer: Any = None) -> Preparer:
    """What prepares a model's inputs: small tools of the right kind."""
    kind = modality(model)
    tool: Any = {
        "audio": lambda: tf.Wav2Vec2FeatureExtractor(return_attention_mask=False, sampling_rate=RATE),
        "image": lambda: tf.ViTImageProcessor(size={"height": 16, "width": 16}),
        "text": lambda: tokenizer or words(),
        "vector": lambda: None,
    }[kind]()
    return Preparer(kind, input_name(model), tool, tool if kind == "text" else tokenizer)


def end(model: Any, hook: str, prepares: Preparer | None = None) -> HookedModel:
    point = probe(model, hook, make_inputs_for(model))
    side = Side(model="by-hand", revision="main", hook=hook)
    return HookedModel(side, model, prepares, point, None, None, {})  # type: ignore[arg-type]


def stitched(
    source: HookedModel, target: HookedModel, rule: dict[str, Any] | None = None, scale: float = 1
) -> StitchedModel:
    """A random affine map; three frames for two positions unless another rule is given."""
    torch.manual_seed(4)
    keys = torch.stack([torch.arange(80), torch.zeros(80, dtype=torch.long)], 1)
    rows = [ActivationSet(torch.randn(80, e.point.width), keys) for e in (source, target)]
    halves = cut(source, target, needs_head=False)
    made = LengthRule.from_spec({"length": "resample", "target_length": "ratio", "ratio": 2 / 3} | (rule or {}))
    layer = fit_layer("affine", *rows)
    for parameter in layer.parameters():  # what is fitted to noise is next to nothing
        parameter.data = scale * torch.randn_like(parameter) / parameter.shape[-1] ** 0.5
    config = StitchedConfig(
        source=halves.prefix.config, target=halves.suffix.config, prefix=halves.prefix_config,
        suffix=halves.suffix_config, layer=layer.spec, sequence=made.spec(),
    )  # fmt: skip
    return StitchedModel(config, halves.prefix, layer, halves.suffix, made).eval()


def saved(
    folder: Path, source: HookedModel, target: HookedModel, rule: dict[str, Any] | None = None, scale: float = 1
) -> Path:
    """The folder of such a model, with its processors."""
    save_model(folder, stitched(source, target, rule, scale), source, target)
    return folder


def ears(layer: int = 1) -> HookedModel:
    """A tiny Wav2Vec2 with its feature extractor, 20 samples a frame; its norms do not see padding."""
    model = tiny("wav2vec2_stable")
    return end(model, f"wav2vec2.encoder.layers.{layer}", preparer(model))
