"""Tiny targets that write text, whole."""

from __future__ import annotations

from typing import Any

import torch
import transformers as tf
from speech_to_text_2 import composite
from tiny_models import FAMILIES, TEXT

SPECIAL = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 2}

SEQ2SEQ = {
    "vocab_size": 60, "d_model": 32, "encoder_layers": 3, "decoder_layers": 3, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "max_position_embeddings": 80,
}  # fmt: skip


def whole(kind: str) -> Any:
    """A target with random weights that is sure enough of its tokens to have no near ties."""
    torch.manual_seed(3)
    made: dict[str, Any] = {
        "bart": lambda: tf.BartForConditionalGeneration(tf.BartConfig(**SEQ2SEQ, **SPECIAL)),
        "mbart": lambda: tf.MBartForConditionalGeneration(tf.MBartConfig(**SEQ2SEQ, **SPECIAL)),
        "t5": lambda: FAMILIES["t5"](),
        "speech": composite,
        "gpt2": lambda: FAMILIES["gpt2_lm"](n_positions=80),
        "llama": lambda: FAMILIES["llama"](),
        "qwen2": lambda: tf.Qwen2ForCausalLM(tf.Qwen2Config(**TEXT, num_key_value_heads=2, pad_token_id=0)),
    }
    model = made[kind]().eval()
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1 and "lm_head" not in name:
            parameter.data *= 3
    model.generation_config.update(max_new_tokens=9, max_length=None, num_beams=2, length_penalty=0.5)
    return model
