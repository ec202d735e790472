"""Tiny models of any family that transformers has: the sizes that configs share, made small by their names."""

from __future__ import annotations

import inspect
from typing import Any

import torch
import transformers as tf

LAYERS, HEADS, WIDTH, INNER, WORDS = 3, 4, 32, 48, 99
_SIZES: list[tuple[int, str]] = [
    (LAYERS, "num_hidden_layers num_layers n_layers n_layer encoder_layers decoder_layers depth num_decoder_layers "
    "num_encoder_layers decoder_num_hidden_layers encoder_num_hidden_layers speech_encoder_layers layers "
    "memory_attention_num_layers decoder_num_layers"),
    (HEADS, "num_attention_heads num_heads n_head n_heads encoder_attention_heads decoder_attention_heads "
    "attention_heads decoder_num_attention_heads encoder_num_attention_heads speech_encoder_attention_heads heads "
    "num_self_attention_heads"),
    (2, "num_key_value_heads decoder_num_key_value_heads encoder_num_key_value_heads num_experts_per_tok n_group "
    "num_experts_per_token topk_group moe_topk moe_k mamba_n_groups first_k_dense_replace spatial_merge_size"),
    (WIDTH, "hidden_size d_model n_embd dim embed_dim embedding_size projection_dim word_embed_proj_dim "
    "out_hidden_size "
    "emb_dim q_lora_rank kv_lora_rank output_dim hidden_dim lru_width block_size attention_hidden_size "
    "shared_expert_intermediate_size decoder_hidden_size classifier_proj_size query_pre_attn_scalar text_hidden_size"),
    (8, "head_dim v_head_dim qk_nope_head_dim qk_rope_head_dim d_kv d_head state_size mamba_d_state mamba_d_head "
    "conv_depthwise_kernel_size num_mel_bins feature_size linear_key_head_dim linear_value_head_dim embedding_dim "
    "mamba_headdim dim_head mamba_n_heads hidden_size_per_layer_input"),
    (INNER, "intermediate_size d_ff ffn_dim encoder_ffn_dim decoder_ffn_dim d_inner n_inner moe_intermediate_size "
    "dff encoder_intermediate_size decoder_intermediate_size speech_encoder_intermediate_size hidden_dim_ffn"),
    (4, "num_experts n_routed_experts num_local_experts moe_num_experts patch_size num_conv_pos_embedding_groups "
    "num_queries linear_num_key_heads linear_num_value_heads"),
    (WORDS, "vocab_size char_vocab_size src_vocab_size tgt_vocab_size vocab_size_per_layer_input text_vocab_size"),
    (64, "max_position_embeddings n_positions max_target_positions context_length max_2d_position_embeddings"),
    (20, "max_source_positions"),
    (16, "image_size num_conv_pos_embeddings feature_projection_input_dim input_feat_per_channel sliding_window "
    "context_size index_topk mamba_chunk_size chunk_size num_buckets"),
    (0, "pad_token_id"),
    (1, "bos_token_id decoder_start_token_id n_shared_experts num_shared_experts"),
]  # fmt: skip
SMALL: dict[str, Any] = {name: size for size, names in _SIZES for name in names.split()} | {
    "eos_token_id": 2,
    "sep_token_id": 2,
    "cls_token_id": 1,
    "conv_dim": (16, 16, 16),
    "conv_kernel": (10, 3, 2),
    "conv_stride": (5, 2, 2),
    "hidden_sizes": [8, 16],
    "depths": [1, 2],
    "num_feat_extract_layers": 3,
}


def small_config(config_class: type, **changes: Any) -> Any:
    """A configuration with small sizes; `changes` are its own arguments, those of its parts as mappings."""
    accepted = inspect.signature(config_class.__init__).parameters
    given = {key: value for key, value in SMALL.items() if key in accepted}
    parts = getattr(config_class, "sub_configs", {})
    for key, part in parts.items():
        if key in accepted and part is not tf.AutoConfig and not hasattr(changes.get(key), "model_type"):
            given[key] = small_config(part, **changes.pop(key, {}))
    return config_class(**given | changes)


def shrunk(name: str, **changes: Any) -> tf.PreTrainedModel:
    """A tiny model of the class called `name`, in evaluation mode; the same call gives the same weights."""
    model_class = getattr(tf, name)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = small_config(model_class.config_class, **changes)
        if getattr(config, "is_encoder_decoder", False) and getattr(config, "decoder_start_token_id", None) is None:
            config.decoder_start_token_id = 1
        model = model_class(config).eval()
        for parameter in model.parameters():  # biases and norms that do something
            if parameter.ndim < 2 and parameter.is_floating_point():
                parameter.data += 0.1 * torch.randn_like(parameter)
    return model.requires_grad_(False)  # as a stitched model is: torch folds products of others in another order
