"""A tiny composite of a speech encoder and the Speech2Text2 decoder."""

from __future__ import annotations

import torch
import transformers as tf
from tiny_models import SPEECH

from hf_stitch.loading.speech_to_text_2 import registration
from hf_stitch.loading.speech_to_text_2.configuration_speech_to_text_2 import Speech2Text2Config

SMALL = {"d_model": 16, "decoder_layers": 2, "decoder_ffn_dim": 24, "decoder_attention_heads": 2, "vocab_size": 40}

PUBLISHED = {
    "model_type": "speech_to_text_2", "architectures": ["Speech2TextForConditionalGeneration"], "d_model": 256,
    "decoder_attention_heads": 4, "decoder_ffn_dim": 2048, "decoder_layers": 7, "encoder_layers": 12,
    "num_hidden_layers": 12, "is_decoder": True, "is_encoder_decoder": True, "add_cross_attention": True,
    "activation_function": "relu", "scale_embedding": True, "vocab_size": 10224, "pad_token_id": 1, "bos_token_id": 0,
    "eos_token_id": 2, "decoder_start_token_id": 2, "max_target_positions": 1024, "max_source_positions": 6000,
    "conv_channels": 1024, "num_conv_layers": 2,
}  # fmt: skip


def composite(**changes: object) -> tf.SpeechEncoderDecoderModel:
    """A tiny Wav2Vec2 encoder with this decoder, random weights, no ties."""
    registration.register()
    torch.manual_seed(0)
    decoder = Speech2Text2Config(**{**PUBLISHED, **SMALL, **changes})
    config = tf.SpeechEncoderDecoderConfig.from_encoder_decoder_configs(tf.Wav2Vec2Config(**SPEECH), decoder)
    model = tf.SpeechEncoderDecoderModel(config=config).eval()
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    settings = {"pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2}
    model.config.update(settings)
    model.generation_config = tf.GenerationConfig(**settings, max_new_tokens=12)
    return model
