"""Tiny models of further families, each with a way of its own to take padded batches, or not to take them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import transformers as tf
from tiny_models import SPEECH, TEXT, _seeded

SHORT = TEXT | {"max_position_embeddings": 40, "pad_token_id": 1}
ROTARY = {"vocab_size": 60, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}

MORE: dict[str, tuple[Callable[[], tf.PreTrainedModel], str]] = {
    # norms, convolutions and pooling over time
    "wav2vec2_conformer": (
        lambda: tf.Wav2Vec2ConformerForCTC(tf.Wav2Vec2ConformerConfig(
            **SPEECH, conv_depthwise_kernel_size=3, feat_extract_norm="layer")),
        "wav2vec2_conformer.encoder.layers.1",
    ),
    "unispeech_sat": (
        lambda: tf.UniSpeechSatForCTC(tf.UniSpeechSatConfig(**SPEECH)), "unispeech_sat.encoder.layers.1"
    ),
    "funnel": (
        lambda: tf.FunnelForSequenceClassification(tf.FunnelConfig(
            vocab_size=60, block_sizes=[2, 2], d_model=32, n_head=4, d_head=8, d_inner=48, pad_token_id=1)),
        "funnel.encoder.blocks.0.1",
    ),
    "yoso": (lambda: tf.YosoForSequenceClassification(tf.YosoConfig(**SHORT)), "yoso.encoder.layer.1"),
    "reformer": (
        lambda: tf.ReformerForSequenceClassification(tf.ReformerConfig(
            vocab_size=60, hidden_size=32, attn_layers=["lsh", "local"], num_attention_heads=2, attention_head_size=16,
            feed_forward_size=48, axial_pos_embds=False, max_position_embeddings=64, num_buckets=4,
            lsh_attn_chunk_length=4, local_attn_chunk_length=4, pad_token_id=1, is_decoder=False)),
        "reformer",
    ),
    "fnet": (
        lambda: tf.FNetForSequenceClassification(tf.FNetConfig(
            vocab_size=60, hidden_size=32, num_hidden_layers=2, intermediate_size=48, max_position_embeddings=40)),
        "fnet.encoder.layer.0",
    ),
    "squeezebert": (
        lambda: tf.SqueezeBertForSequenceClassification(tf.SqueezeBertConfig(
            **SHORT, embedding_size=32, q_groups=1, k_groups=1, v_groups=1, post_attention_groups=1,
            intermediate_groups=1, output_groups=1)),
        "transformer.encoder.layers.1.output",
    ),
    "convbert": (
        lambda: tf.ConvBertForSequenceClassification(tf.ConvBertConfig(**SHORT, embedding_size=32)),
        "convbert.encoder.layer.1",
    ),
    "questions": (lambda: tf.BertForQuestionAnswering(tf.BertConfig(**SHORT)), "bert.encoder.layer.0"),
    # recurrent
    "mamba": (
        lambda: tf.MambaForCausalLM(tf.MambaConfig(
            vocab_size=60, hidden_size=32, state_size=4, num_hidden_layers=2, pad_token_id=1)),
        "backbone.layers.0",
    ),
    "rwkv": (
        lambda: tf.RwkvForCausalLM(tf.RwkvConfig(
            vocab_size=60, hidden_size=32, attention_hidden_size=32, num_hidden_layers=2, intermediate_size=48,
            context_length=40)),
        "rwkv.blocks.0",
    ),
    # ways to count positions
    "opt": (
        lambda: tf.OPTForSequenceClassification(tf.OPTConfig(
            vocab_size=60, hidden_size=32, ffn_dim=48, num_hidden_layers=2, num_attention_heads=4,
            max_position_embeddings=40, word_embed_proj_dim=32, pad_token_id=1)),
        "model.decoder.layers.0",
    ),
    "bloom": (
        lambda: tf.BloomForSequenceClassification(tf.BloomConfig(
            vocab_size=60, hidden_size=32, n_layer=2, n_head=4, pad_token_id=1)),
        "transformer.h.0",
    ),
    "gpt_neo": (
        lambda: tf.GPTNeoForSequenceClassification(tf.GPTNeoConfig(
            vocab_size=60, hidden_size=32, num_layers=2, num_heads=4, intermediate_size=48,
            max_position_embeddings=40, attention_types=[[["global", "local"], 1]], pad_token_id=1)),
        "transformer.h.0",
    ),
    "xlm": (
        lambda: tf.XLMForSequenceClassification(tf.XLMConfig(
            vocab_size=60, emb_dim=32, n_layers=2, n_heads=4, max_position_embeddings=40, pad_index=1, pad_token_id=1)),
        "transformer.ffns.0",
    ),
    "roformer": (
        lambda: tf.RoFormerForSequenceClassification(tf.RoFormerConfig(**SHORT, embedding_size=32)),
        "roformer.encoder.layer.0",
    ),
    "switch": (
        lambda: tf.SwitchTransformersEncoderModel(tf.SwitchTransformersConfig(
            vocab_size=60, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, num_experts=4, expert_capacity=4,
            num_sparse_encoder_layers=1, pad_token_id=1)),
        "encoder.block.0",
    ),
}  # fmt: skip
"""Families with a hook point each."""


def more(family: str) -> Any:
    """A tiny model in evaluation mode; the same call gives the same weights."""
    return _seeded(MORE[family][0])
