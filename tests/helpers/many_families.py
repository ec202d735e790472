"""Models of families that the matrix lacks, from all of transformers' lists, by the names of their classes."""

from __future__ import annotations

from typing import Any

import transformers as tf
from shrunk import shrunk

_TEXT = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48}
_STAGES: dict[str, Any] = {"hidden_sizes": [8, 16, 16, 16], "depths": [1, 1, 1, 1]}
_SSM = {"conv_kernel": 4, "state_size": 8, "num_hidden_layers": 3, "hidden_size": 32}
_SWIN = {"num_heads": [2, 2], "depths": [2, 2], "embed_dim": 16, "window_size": 2, "patch_size": 2}

# Class -> what its configuration has beside the small sizes.
CLASSES: dict[str, dict[str, Any]] = {
    # text encoders
    "BigBirdForSequenceClassification": {"block_size": 4, "num_random_blocks": 1},
    "CamembertForSequenceClassification": {},
    "CanineForSequenceClassification": {},
    "ConvBertForSequenceClassification": {},
    "Data2VecTextForSequenceClassification": {},
    "DebertaForSequenceClassification": {},
    "ErnieForSequenceClassification": {},
    "EsmForSequenceClassification": {"pad_token_id": 0, "mask_token_id": 4},
    "FlaubertForSequenceClassification": {},
    "FNetForSequenceClassification": {},
    "FunnelForSequenceClassification": {},
    "IBertForSequenceClassification": {},
    "LayoutLMForSequenceClassification": {},
    "LongformerForSequenceClassification": {"attention_window": 4},
    "LukeModel": {"entity_vocab_size": 20, "entity_emb_size": 16},
    "MarkupLMForSequenceClassification": {},
    "MegatronBertForSequenceClassification": {},
    "MobileBertForSequenceClassification": {"true_hidden_size": 32, "intra_bottleneck_size": 32, "embedding_size": 32},
    "MptForSequenceClassification": {},
    "MraForSequenceClassification": {},
    "NystromformerForSequenceClassification": {},
    "PerceiverForMaskedLM": {"num_latents": 8, "d_latents": 32, "num_self_attends_per_block": 2},
    "ReformerForSequenceClassification": {
        "axial_pos_shape": [8, 8], "axial_pos_embds_dim": [16, 16], "attn_layers": ["local", "lsh", "local"],
        "local_attn_chunk_length": 4, "lsh_attn_chunk_length": 4, "attention_head_size": 8, "feed_forward_size": 48,
        "is_decoder": False, "num_buckets": 4, "hash_seed": 0,
    },
    "RemBertForSequenceClassification": {"input_embedding_size": 16, "output_embedding_size": 16},
    "RobertaPreLayerNormForSequenceClassification": {},
    "RoCBertForSequenceClassification": {"pronunciation_vocab_size": 60, "shape_vocab_size": 60},
    "RoFormerForSequenceClassification": {},
    "SplinterModel": {},
    "SqueezeBertForSequenceClassification": {},
    "TapasForSequenceClassification": {},
    "VisualBertModel": {},
    "XLMForSequenceClassification": {},
    "XLMRobertaForSequenceClassification": {},
    "XLMRobertaXLForSequenceClassification": {},
    "XmodForSequenceClassification": {"default_language": "en_XX"},
    "YosoForSequenceClassification": {},
    # decoders
    "BioGptForCausalLM": {},
    "BloomForCausalLM": {},
    "CodeGenForCausalLM": {"rotary_dim": 4},
    "CohereForCausalLM": {},
    "CTRLLMHeadModel": {},
    "FalconForCausalLM": {},
    "Gemma2ForCausalLM": {},
    "Gemma3ForCausalLM": {},
    "GitForCausalLM": {},
    "GPTBigCodeForCausalLM": {},
    "GPTJForCausalLM": {"rotary_dim": 4},
    "GPTNeoForCausalLM": {"attention_types": [[["global", "local", "global"], 1]], "window_size": 8},
    "GPTNeoXForCausalLM": {},
    "GptOssForCausalLM": {},
    "MistralForCausalLM": {},
    "MixtralForCausalLM": {},
    "MptForCausalLM": {},
    "Olmo2ForCausalLM": {},
    "OlmoeForCausalLM": {},
    "OpenAIGPTLMHeadModel": {},
    "OPTForCausalLM": {},
    "PersimmonForCausalLM": {},
    "PhiForCausalLM": {},
    "Phi3ForCausalLM": {},
    "Qwen2MoeForCausalLM": {},
    "Qwen3ForCausalLM": {},
    "StableLmForCausalLM": {},
    "Starcoder2ForCausalLM": {},
    "XGLMForCausalLM": {},
    # recurrent and state-space
    "BambaForCausalLM": {},
    "FalconMambaForCausalLM": _SSM,
    "JambaForCausalLM": {},
    "MambaForCausalLM": _SSM,
    "Mamba2ForCausalLM": _SSM | {"num_heads": 8, "head_dim": 8, "n_groups": 2, "chunk_size": 4},
    "RecurrentGemmaForCausalLM": {},
    "RwkvForCausalLM": {"rescale_every": 2},
    # encoder-decoders
    "BigBirdPegasusForConditionalGeneration": {"block_size": 4, "num_random_blocks": 1},
    "BlenderbotForConditionalGeneration": {},
    "BlenderbotSmallForConditionalGeneration": {},
    "EncoderDecoderModel": {},
    "FSMTForConditionalGeneration": {"src_vocab_size": 99, "tgt_vocab_size": 99, "langs": ["en", "de"]},
    "LEDForConditionalGeneration": {"attention_window": 4, "max_encoder_position_embeddings": 64},
    "LongT5ForConditionalGeneration": {"local_radius": 3, "global_block_size": 4},
    "M2M100ForConditionalGeneration": {},
    "MarianMTModel": {},
    "MT5ForConditionalGeneration": {},
    "MvpForConditionalGeneration": {},
    "NllbMoeForConditionalGeneration": {},
    "PegasusForConditionalGeneration": {},
    "PegasusXForConditionalGeneration": {"block_size": 4, "num_global_tokens": 2},
    "PLBartForConditionalGeneration": {},
    "ProphetNetForConditionalGeneration": {"num_encoder_attention_heads": 4, "num_decoder_attention_heads": 4},
    "SwitchTransformersForConditionalGeneration": {},
    "UMT5ForConditionalGeneration": {},
    # speech
    "ASTForAudioClassification": {"max_length": 24, "num_mel_bins": 16},
    "MoonshineForConditionalGeneration": {},
    "ParakeetForCTC": {},
    "SEWDForCTC": {"squeeze_factor": 2},
    "Speech2TextForConditionalGeneration": {},
    "SpeechT5ForSpeechToText": {},
    "UniSpeechForCTC": {},
    "UniSpeechSatForCTC": {},
    "Wav2Vec2BertForCTC": {"conv_depthwise_kernel_size": 5},
    "Wav2Vec2ConformerForCTC": {"conv_depthwise_kernel_size": 5},
    "WhisperForConditionalGeneration": {},
    # pictures
    "BeitForImageClassification": {},
    "BitForImageClassification": {"hidden_sizes": [8, 16], "depths": [1, 1], "num_groups": 4, "embedding_size": 8},
    "ConvNextForImageClassification": _STAGES | {"image_size": 64},
    "ConvNextV2ForImageClassification": _STAGES | {"image_size": 64},
    "Data2VecVisionForImageClassification": {},
    "DeiTForImageClassification": {},
    "EfficientNetForImageClassification": {
        "image_size": 32, "width_coefficient": 0.1, "depth_coefficient": 0.1, "hidden_dim": 128,
    },
    "FocalNetForImageClassification": {
        "embed_dim": 8, "depths": [1, 2], "focal_levels": [1, 1], "focal_windows": [3, 3],
    },
    "LevitForImageClassification": {
        "image_size": 64, "num_attention_heads": [2, 2, 2], "hidden_sizes": [16, 24, 32], "key_dim": [8, 8, 8],
        "depths": [1, 1, 1],
    },
    "MobileNetV1ForImageClassification": {"depth_multiplier": 0.1},
    "MobileNetV2ForImageClassification": {"depth_multiplier": 0.1},
    "MobileViTForImageClassification": {
        "hidden_sizes": [16, 16, 16], "neck_hidden_sizes": [8, 8, 8, 8, 8, 8, 8], "image_size": 32,
    },
    "PoolFormerForImageClassification": _STAGES,
    "PvtForImageClassification": _STAGES | {"num_attention_heads": [1, 2, 2, 2], "image_size": 64},
    "PvtV2ForImageClassification": _STAGES | {"num_attention_heads": [1, 2, 2, 2], "image_size": 64},
    "RegNetForImageClassification": {},
    "SegformerForImageClassification": _STAGES | {"num_attention_heads": [1, 2, 2, 2]},
    "SiglipForImageClassification": {},
    "SwiftFormerForImageClassification": {"embed_dims": [8, 16, 16, 16], "depths": [1, 1, 1, 1], "image_size": 64},
    "SwinForImageClassification": _SWIN,
    "Swinv2ForImageClassification": _SWIN,
    "ViTMSNForImageClassification": {},
    "YolosModel": {"image_size": [16, 16]},
    # video
    "TimesformerForVideoClassification": {"num_frames": 2},
    "VideoMAEForVideoClassification": {"num_frames": 2},
    "VivitForVideoClassification": {"num_frames": 2, "tubelet_size": [2, 4, 4]},
    # several kinds at once
    "AltCLIPModel": {},
    "BlipForConditionalGeneration": {},
    "ChineseCLIPModel": {},
    "CLIPSegModel": {},
    "GroupViTModel": {},
    "LlavaForConditionalGeneration": {
        "vision_config": tf.CLIPVisionConfig(**_TEXT, image_size=16, patch_size=4),
        "text_config": tf.LlamaConfig(**_TEXT, vocab_size=99), "image_token_index": 98,
    },
    "OwlViTModel": {},
    "SiglipModel": {},
    "ViltModel": {},
    "VisionEncoderDecoderModel": {},
    "VisionTextDualEncoderModel": {},
}  # fmt: skip


def _eyes() -> Any:
    return tf.ViTModel(tf.ViTConfig(**_TEXT, image_size=16, patch_size=4))


def _reader() -> Any:
    return tf.BertModel(tf.BertConfig(**_TEXT, vocab_size=99))


def _writer() -> Any:
    return tf.BertLMHeadModel(tf.BertConfig(**_TEXT, vocab_size=99, is_decoder=True, add_cross_attention=True))


COMPOSED = {
    "EncoderDecoderModel": lambda: tf.EncoderDecoderModel(encoder=_reader(), decoder=_writer()),
    "VisionEncoderDecoderModel": lambda: tf.VisionEncoderDecoderModel(encoder=_eyes(), decoder=_writer()),
    "VisionTextDualEncoderModel": lambda: tf.VisionTextDualEncoderModel(
        config=tf.VisionTextDualEncoderConfig.from_vision_text_configs(_eyes().config, _reader().config),
        vision_model=_eyes(), text_model=_reader(),
    ),
}  # fmt: skip


def build(name: str) -> tf.PreTrainedModel:
    """The tiny model of a class, frozen and in evaluation mode."""
    if name not in COMPOSED:
        return shrunk(name, **CLASSES.get(name, {}))
    model = COMPOSED[name]()
    model.config.decoder_start_token_id, model.config.pad_token_id = 1, 0
    return model.eval().requires_grad_(False)
