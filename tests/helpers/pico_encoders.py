"""Tiny encoders without a head, saved as strangers have them, and their vectors by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as tf
from pico_texts import WORDS, _tokenizer
from safetensors.torch import load_file, save_file
from tokenizers.models import WordLevel

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
         "max_position_embeddings": 40}  # fmt: skip
LOUD = 6.0  # weights of random models are small, and their texts then hardly differ


def tokenizer(side: str = "right", words: Sequence[str] = WORDS) -> Any:
    vocabulary = [*SPECIAL, *words, *(word.capitalize() for word in words)]
    model = WordLevel({word: i for i, word in enumerate(vocabulary)}, "<unk>")
    names = {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>", "padding_side": side}
    return _tokenizer(model, vocabulary, "<s> $A </s>", names)


def encoder(folder: Path, seed: int = 0, kind: str = "Bert", side: str = "right", **sizes: Any) -> Path:
    """A transformer without a head, as `save_pretrained` of model and tokenizer leave it."""
    tools = tokenizer(side)
    tools.save_pretrained(folder)
    torch.manual_seed(seed)
    known = {"vocab_size": len(tools.get_vocab()), "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    config = getattr(tf, f"{kind}Config")(**known | SIZES | sizes)
    model = getattr(tf, f"{kind}Model")(config)
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1 and "embeddings" in name:
            parameter.data *= LOUD
    model.save_pretrained(folder)
    return folder


def sentence_transformer(
    folder: Path,
    seed: int = 0,
    inside: str = "",
    pooling: dict[str, Any] | None = None,
    parts: Sequence[str] = ("Normalize",),
    reading: dict[str, Any] | None = None,
    settings: dict[str, Any] | None = None,
    **kind: Any,
) -> Path:
    """The same with what sentence-transformers writes beside it.

    Args:
        inside: where the transformer lies, "" for the root. pooling: of the pooling's config.json.
        parts: what follows the pooling. reading, settings: sentence_bert_config.json, config_sentence_transformers.json
    """
    encoder(folder / inside, seed, **kind)
    poolings = pooling or {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
    listed = [
        ("Transformer", inside),
        ("Pooling", "1_Pooling"),
        *((one, f"{i + 2}_{one}") for i, one in enumerate(parts)),
    ]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{name}"}
        for i, (name, path) in enumerate(listed)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / inside / "sentence_bert_config.json").write_text(json.dumps(reading or {"max_seq_length": 20}))
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings or {}))
    for name, path in listed[1:]:
        (folder / path).mkdir()
        if name == "Pooling":
            (folder / path / "config.json").write_text(json.dumps({"word_embedding_dimension": 16, **poolings}))
        if name == "Dense":
            dense(folder / path, width=16 * sum(value is True for value in poolings.values()))
    return folder


def dense(folder: Path, width: int = 16, outputs: int = 12, activation: str = "activation.Tanh") -> None:
    torch.manual_seed(9)
    linear = torch.nn.Linear(width, outputs)
    weights = {"linear.weight": linear.weight.detach(), "linear.bias": linear.bias.detach()}
    save_file(weights, folder / "model.safetensors")
    config = {"in_features": width, "out_features": outputs, "bias": True}
    config |= {"activation_function": f"torch.nn.modules.{activation}"}
    (folder / "config.json").write_text(json.dumps(config))


BY_HAND: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "pooling_mode_cls_token": lambda rows: rows[0],
    "pooling_mode_max_tokens": lambda rows: rows.max(0)[0],
    "pooling_mode_mean_tokens": lambda rows: rows.mean(0),
    "pooling_mode_mean_sqrt_len_tokens": lambda rows: rows.sum(0) / len(rows) ** 0.5,
    "pooling_mode_weightedmean_tokens": lambda rows: (
        (rows * torch.arange(1, len(rows) + 1)[:, None]).sum(0) / torch.arange(1, len(rows) + 1).sum()
    ),
    "pooling_mode_lasttoken": lambda rows: rows[-1],
}
"""What sentence-transformers makes of the states (t, m) of one text without padding, in the order that it has."""


def by_hand(folder: Path, texts: Sequence[str], inside: str = "") -> np.ndarray:
    """Vectors (n, k) of a sentence-transformers folder, text by text, with transformers and arithmetic alone."""
    model = tf.AutoModel.from_pretrained(folder / inside).eval()
    tools = tf.AutoTokenizer.from_pretrained(folder / inside)
    reading = json.loads((folder / inside / "sentence_bert_config.json").read_text())
    settings = json.loads((folder / "config_sentence_transformers.json").read_text())
    prompt = settings.get("prompts", {}).get(settings.get("default_prompt_name") or "", "")
    poolings = json.loads((folder / "1_Pooling" / "config.json").read_text())
    found = []
    for text in texts:
        text = (prompt + text).strip()
        text = text.lower() if reading.get("do_lower_case") else text
        ids = tools(text, truncation=True, max_length=reading["max_seq_length"], return_tensors="pt")
        with torch.no_grad():
            states = model(input_ids=ids["input_ids"], attention_mask=ids["attention_mask"]).last_hidden_state[0]
        row = torch.cat([pool(states) for flag, pool in BY_HAND.items() if poolings.get(flag)])
        for part in sorted(folder.glob("[2-9]_*")):
            if part.name.endswith("Dense"):
                weights = load_file(part / "model.safetensors")
                row = torch.tanh(weights["linear.weight"] @ row + weights["linear.bias"])
            if part.name.endswith("Normalize"):
                row = row / row.norm()
        found.append(row.numpy())
    return np.stack(found)
