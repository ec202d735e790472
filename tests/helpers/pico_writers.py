"""Tiny models with random weights that write text, saved with their tokenizers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers as tf
from pico_texts import WORDS, _tokenizer
from tokenizers.models import WordLevel

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
SIZES = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
         "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48}  # fmt: skip


def loud(model: Any, factor: float) -> Any:
    """The model with larger weights: what it writes then depends on what it reads."""
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1 and "lm_head" not in name:
            parameter.data *= factor
    return model


def bart(folder: Path) -> Path:
    """An encoder-decoder of words: <s> words </s>, padding on the right."""
    vocabulary = [*SPECIAL, *WORDS]
    words = WordLevel({word: i for i, word in enumerate(vocabulary)}, "<unk>")
    _tokenizer(words, vocabulary, "<s> $A </s>", {"bos_token": "<s>", "eos_token": "</s>"}).save_pretrained(folder)
    torch.manual_seed(7)
    config = tf.BartConfig(
        vocab_size=len(vocabulary), max_position_embeddings=80, pad_token_id=1, bos_token_id=0, eos_token_id=2,
        decoder_start_token_id=2, forced_eos_token_id=None, dropout=0.0, **SIZES,
    )  # fmt: skip
    model = loud(tf.BartForConditionalGeneration(config), 9)
    model.final_logits_bias[0, :4] = torch.tensor([-50.0, -50.0, 1.0, -50.0])  # words, and sometimes the end
    model.save_pretrained(folder)
    return folder


def gpt2(folder: Path) -> Path:
    """A causal language model of words, which has no special tokens round a text and pads on the right."""
    vocabulary = [*SPECIAL, *WORDS]
    model = WordLevel({word: i for i, word in enumerate(vocabulary)}, "<unk>")
    _tokenizer(model, vocabulary, "$A", {"eos_token": "</s>"}).save_pretrained(folder)
    torch.manual_seed(6)
    config = tf.GPT2Config(
        vocab_size=len(vocabulary), n_embd=32, n_layer=2, n_head=4, n_positions=80, pad_token_id=1, bos_token_id=0,
        eos_token_id=2,
    )  # fmt: skip
    loud(tf.GPT2LMHeadModel(config), 5).save_pretrained(folder)
    return folder
