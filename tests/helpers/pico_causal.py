"""Tiny causal language models with their tokenizers, random or trained for seconds on made sentences."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as tf
from pico_texts import WORDS, _tokenizer
from tokenizers.models import WordLevel, WordPiece

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
SIZES = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48,
         "max_position_embeddings": 40}  # fmt: skip
GPT2 = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 40}


def tokenizer(frame: str = "$A", side: str = "right", pieces: bool = False) -> Any:
    """Of words, or of pieces: letters, and what continues a word."""
    if pieces:
        letters = sorted({letter for word in WORDS for letter in word})
        vocabulary = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters), "film", "go", "##od", "ne", "##ver"]
        model: Any = WordPiece({word: i for i, word in enumerate(vocabulary)}, unk_token="<unk>")
    else:
        vocabulary = [*SPECIAL, *WORDS]
        model = WordLevel({word: i for i, word in enumerate(vocabulary)}, "<unk>")
    names = {"bos_token": "<s>", "eos_token": "</s>", "padding_side": side}
    return _tokenizer(model, vocabulary, frame, names)


def model(kind: str = "GPT2LMHeadModel", seed: int = 0, size: int = len(SPECIAL) + len(WORDS), **sizes: Any) -> Any:
    """A causal model of random weights, loud enough that what it says depends on what it reads."""
    cls = getattr(tf, kind)
    known = GPT2 if cls.config_class is tf.GPT2Config else SIZES
    config = cls.config_class(
        **known | {"vocab_size": size, "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2} | sizes
    )
    torch.manual_seed(seed)
    made = cls(config).eval()
    for name, parameter in made.named_parameters():
        if parameter.ndim == 2 and "head" not in name:
            parameter.data *= 4
    return made


def saved(folder: Path, kind: str = "GPT2LMHeadModel", seed: int = 0, tools: Any = None, **sizes: Any) -> Path:
    tools = tools or tokenizer()
    tools.save_pretrained(folder)
    model(kind, seed, len(tools), **sizes).save_pretrained(folder)
    return folder


def sentences(count: int, seed: int = 0, least: int = 3, most: int = 14) -> list[str]:
    """Sentences of a chain of words: each word is followed by a few others, one of them mostly."""
    draw, chain = np.random.default_rng(seed), np.random.default_rng(99)
    follows = [chain.choice(len(WORDS), 3, replace=False) for _ in WORDS]
    found = []
    for _ in range(count):
        words = [int(draw.integers(len(WORDS)))]
        for _ in range(int(draw.integers(least, most)) - 1):
            words.append(int(draw.choice(follows[words[-1]], p=(0.7, 0.2, 0.1))))
        found.append(" ".join(WORDS[i] for i in words))
    return found


def trained(folder: Path, seed: int, steps: int = 150, **sizes: Any) -> Path:
    """A GPT-2 that was trained on such sentences; saved."""
    tools = tokenizer()
    tools.save_pretrained(folder)
    torch.manual_seed(seed)
    config = tf.GPT2Config(
        vocab_size=len(tools), **GPT2 | sizes, bos_token_id=0, pad_token_id=1, eos_token_id=2,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    own = tf.GPT2LMHeadModel(config)
    optimizer = torch.optim.AdamW(own.parameters(), lr=3e-3)
    for step in range(steps):
        batch = tools(sentences(16, seed=1000 * seed + step), padding=True, return_tensors="pt")
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
        optimizer.zero_grad()
        own(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=labels).loss.backward()
        optimizer.step()
    own.eval().save_pretrained(folder)
    return folder


def fresh(code: str, *args: str) -> str:
    """What code prints in a process of its own."""
    run = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    return run.stdout
