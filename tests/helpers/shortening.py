"""Tiny models that have another number of positions than their input, and a hook point where they do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers as tf
from tiny_models import SEQ2SEQ, SPEECH, TEXT, tiny

DECODED = {k: v for k, v in SEQ2SEQ.items() if k != "max_position_embeddings"}
FUNNEL = {"vocab_size": 60, "block_sizes": [1, 1, 1], "d_model": 32, "n_head": 4, "d_head": 8, "d_inner": 48}
LONG = TEXT | {"max_position_embeddings": 200}
SPEECH_T5 = {"hidden_size": 32, **{k: SPEECH[k] for k in SPEECH if k.startswith(("conv_", "num_c", "num_f"))}}
ADAPTED = SPEECH | {"add_adapter": True, "num_adapter_layers": 2, "output_hidden_size": 32}
BLOCKS = {"block_size": 4, "num_random_blocks": 1, "max_position_embeddings": 128}
ENCODER = TEXT | {"num_mel_bins": 16, "subsampling_conv_channels": 8}
CONFIGS = {k: v for k, v in SPEECH.items() if k != "vocab_size"}

SHORTER: dict[str, tuple[Callable[[], Any], str]] = {
    "sew": (lambda: tiny("sew"), "sew.encoder.layers.1"),
    "sew by 4": (lambda: tf.SEWForCTC(tf.SEWConfig(**SPEECH | {"squeeze_factor": 4})), "sew.encoder.layers.1"),
    "sew-d": (lambda: tf.SEWDForCTC(tf.SEWDConfig(**SPEECH)), "sew_d.encoder.encoder.layer.1"),
    "funnel": (lambda: tf.FunnelForSequenceClassification(tf.FunnelConfig(**FUNNEL)), "funnel.encoder.blocks.2.0"),
    "funnel, second block": (
        lambda: tf.FunnelForSequenceClassification(tf.FunnelConfig(**FUNNEL)), "funnel.encoder.blocks.1.0"
    ),
    "funnel, not cut": (
        lambda: tf.FunnelForSequenceClassification(tf.FunnelConfig(**FUNNEL, truncate_seq=False)),
        "funnel.encoder.blocks.2.0",
    ),
    "speecht5": (
        lambda: tf.SpeechT5ForSpeechToText(tf.SpeechT5Config(**DECODED | SPEECH_T5)),
        "speecht5.encoder.wrapped_encoder.layers.0",
    ),
    "speech_to_text": (
        lambda: tf.Speech2TextForConditionalGeneration(
            tf.Speech2TextConfig(**DECODED, conv_channels=16, input_feat_per_channel=8)
        ),
        "model.encoder.layers.0",
    ),
    "wav2vec2 before its adapter": (
        lambda: tf.Wav2Vec2ForCTC(tf.Wav2Vec2Config(**ADAPTED)), "wav2vec2.encoder.layers.1"
    ),
    "wav2vec2, first adapter": (
        lambda: tf.Wav2Vec2ForCTC(tf.Wav2Vec2Config(**ADAPTED)), "wav2vec2.adapter.layers.0"
    ),
    "wav2vec2, convolution": (lambda: tiny("wav2vec2_stable"), "wav2vec2.feature_extractor.conv_layers.1"),
    "wav2vec2-bert": (
        lambda: tf.Wav2Vec2BertForCTC(
            tf.Wav2Vec2BertConfig(
                **TEXT, feature_projection_input_dim=16, add_adapter=True, num_adapter_layers=1, output_hidden_size=32
            )
        ),
        "wav2vec2_bert.adapter",
    ),
    "seamless": (
        lambda: tf.SeamlessM4TForSpeechToText(
            tf.SeamlessM4TConfig(
                **{k: v for k, v in DECODED.items() if k != "d_model"}, hidden_size=32, speech_encoder_layers=2,
                speech_encoder_attention_heads=4, speech_encoder_intermediate_size=48, feature_projection_input_dim=16,
            )
        ),
        "speech_encoder.adapter",
    ),
    "moonshine": (
        lambda: tf.MoonshineForConditionalGeneration(
            tf.MoonshineConfig(
                vocab_size=60, hidden_size=32, intermediate_size=48, encoder_num_hidden_layers=2,
                decoder_num_hidden_layers=2, encoder_num_attention_heads=4, decoder_num_attention_heads=4,
            )
        ),
        "model.encoder.layers.0",
    ),
    "parakeet": (
        lambda: tf.ParakeetForCTC(tf.ParakeetCTCConfig(vocab_size=12, encoder_config=ENCODER)), "encoder.layers.0"
    ),
    "canine": (
        lambda: tf.CanineForSequenceClassification(tf.CanineConfig(**TEXT, num_hash_buckets=64)),
        "canine.encoder.layer.1",
    ),
}  # fmt: skip
FIXED: dict[str, tuple[Callable[[], Any], str]] = {
    "perceiver": (
        lambda: tf.PerceiverForSequenceClassification(
            tf.PerceiverConfig(
                num_latents=9, d_latents=32, d_model=24, num_self_attends_per_block=2, num_self_attention_heads=4,
                num_cross_attention_heads=4, vocab_size=60, max_position_embeddings=200,
            )
        ),
        "perceiver.encoder.self_attends.0",
    ),
}  # fmt: skip
WINDOWS: dict[str, tuple[Callable[[], Any], str]] = {
    "longformer": (
        lambda: tf.LongformerForSequenceClassification(tf.LongformerConfig(**LONG, attention_window=32)),
        "longformer.encoder.layer.1",
    ),
    "led": (
        lambda: tf.LEDForConditionalGeneration(
            tf.LEDConfig(**DECODED, attention_window=16, max_encoder_position_embeddings=200)
        ),
        "led.encoder.layers.1",
    ),
    "big_bird": (
        lambda: tf.BigBirdForSequenceClassification(
            tf.BigBirdConfig(**TEXT | BLOCKS, attention_type="block_sparse")
        ),
        "bert.encoder.layer.1",
    ),
    "big_bird_pegasus": (
        lambda: tf.BigBirdPegasusForSequenceClassification(tf.BigBirdPegasusConfig(**SEQ2SEQ | BLOCKS)),
        "model.encoder.layers.1",
    ),
    "reformer": (
        lambda: tf.ReformerForSequenceClassification(
            tf.ReformerConfig(
                vocab_size=60, hidden_size=32, attention_head_size=8, num_attention_heads=4, feed_forward_size=48,
                attn_layers=["local", "lsh"], local_attn_chunk_length=16, lsh_attn_chunk_length=16, num_buckets=4,
                lsh_num_chunks_after=0, axial_pos_embds=False, max_position_embeddings=128, is_decoder=False,
            )
        ),
        "reformer.encoder.layer_norm",
    ),
}  # fmt: skip
"""Those that pad their input to whole windows inside."""


def made(make: Callable[[], Any]) -> Any:
    """A model in evaluation mode; the same call gives the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make().eval()
