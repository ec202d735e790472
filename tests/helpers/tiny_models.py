"""Tiny models with random weights, made from their configs alone."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
import transformers as tf
from torch import nn
from transformers.modeling_outputs import SequenceClassifierOutput

TEXT = {"vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48}
SPEECH = TEXT | {
    "vocab_size": 12,
    "conv_dim": (16, 16, 16),
    "conv_kernel": (10, 3, 2),
    "conv_stride": (5, 2, 2),
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 4,
}
GPT2 = {
    "vocab_size": 60,
    "n_embd": 32,
    "n_layer": 3,
    "n_head": 4,
    "n_positions": 40,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 1,
}
T5 = {"vocab_size": 60, "d_model": 32, "d_kv": 8, "num_layers": 3, "num_heads": 4, "d_ff": 48}
SEQ2SEQ = {
    "vocab_size": 60,
    "d_model": 32,
    "encoder_layers": 3,
    "decoder_layers": 3,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 40,
}
IMAGE = {k: v for k, v in TEXT.items() if k != "vocab_size"} | {"image_size": 16, "patch_size": 4}
CLIP_TEXT = TEXT | {"max_position_embeddings": 40, "eos_token_id": 2, "bos_token_id": 1, "projection_dim": 16}
CLIP_VISION = IMAGE | {"projection_dim": 16}


class TanhConfig(tf.PreTrainedConfig):
    """Widths of the layers of a tanh network."""

    model_type = "test_tanh"

    def __init__(self, layer_sizes: tuple[int, ...] = (4, 8, 6, 3), **kwargs: Any) -> None:
        self.layer_sizes = list(layer_sizes)
        super().__init__(**kwargs)


class TanhNetwork(tf.PreTrainedModel):
    """Linear layers with tanh between them, on vectors (b, layer_sizes[0])."""

    config_class = TanhConfig
    main_input_name = "inputs"

    def __init__(self, config: TanhConfig) -> None:
        super().__init__(config)
        sizes = config.layer_sizes
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.unused = nn.Linear(2, 2)
        self.post_init()

    def forward(self, inputs: torch.Tensor) -> SequenceClassifierOutput:
        for layer in self.layers[:-1]:
            inputs = torch.tanh(layer(inputs))
        return SequenceClassifierOutput(logits=self.layers[-1](inputs))


FAMILIES: dict[str, Callable[..., tf.PreTrainedModel]] = {
    "wav2vec2": lambda **k: tf.Wav2Vec2ForCTC(tf.Wav2Vec2Config(**SPEECH | k)),
    "wav2vec2_stable": lambda **k: tf.Wav2Vec2ForCTC(
        tf.Wav2Vec2Config(**SPEECH | {"do_stable_layer_norm": True, "feat_extract_norm": "layer"} | k)
    ),
    "hubert": lambda **k: tf.HubertForCTC(tf.HubertConfig(**SPEECH | k)),
    "xlnet": lambda **k: tf.XLNetForSequenceClassification(
        tf.XLNetConfig(vocab_size=60, d_model=32, n_layer=3, n_head=4, d_inner=48, **k)
    ),
    "roberta": lambda **k: tf.RobertaForSequenceClassification(
        tf.RobertaConfig(**TEXT | {"max_position_embeddings": 40} | k)
    ),
    "bert": lambda **k: tf.BertForSequenceClassification(tf.BertConfig(**TEXT | {"max_position_embeddings": 40} | k)),
    "distilbert": lambda **k: tf.DistilBertForSequenceClassification(
        tf.DistilBertConfig(vocab_size=60, dim=32, n_layers=3, n_heads=4, hidden_dim=48, max_position_embeddings=40)
    ),
    "modernbert": lambda **k: tf.ModernBertForSequenceClassification(
        tf.ModernBertConfig(**TEXT, pad_token_id=0, cls_token_id=1, sep_token_id=2, bos_token_id=1, eos_token_id=2)
    ),
    "gpt2": lambda **k: tf.GPT2ForSequenceClassification(tf.GPT2Config(**GPT2 | k)),
    "gpt2_lm": lambda **k: tf.GPT2LMHeadModel(tf.GPT2Config(**GPT2 | k)),
    "llama": lambda **k: tf.LlamaForCausalLM(tf.LlamaConfig(**TEXT, pad_token_id=0)),
    "vit": lambda **k: tf.ViTForImageClassification(tf.ViTConfig(**IMAGE | k)),
    "resnet": lambda **k: tf.ResNetForImageClassification(
        tf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])
    ),
    "t5_encoder": lambda **k: tf.T5EncoderModel(tf.T5Config(**T5)),
    "t5": lambda **k: tf.T5ForConditionalGeneration(tf.T5Config(**T5, decoder_start_token_id=0)),
    "bart": lambda **k: tf.BartForSequenceClassification(
        tf.BartConfig(
            vocab_size=60,
            d_model=32,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            encoder_ffn_dim=48,
            decoder_ffn_dim=48,
            max_position_embeddings=40,
        )
    ),
    "whisper": lambda **k: tf.WhisperModel(
        tf.WhisperConfig(
            vocab_size=60,
            d_model=32,
            encoder_layers=3,
            decoder_layers=2,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            encoder_ffn_dim=48,
            decoder_ffn_dim=48,
            max_source_positions=20,
            max_target_positions=30,
            num_mel_bins=8,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            decoder_start_token_id=1,
        )
    ),
    "albert": lambda **k: tf.AlbertForSequenceClassification(tf.AlbertConfig(**TEXT, embedding_size=16)),
    "wavlm": lambda **k: tf.WavLMForCTC(tf.WavLMConfig(**SPEECH | k)),
    "data2vec_audio": lambda **k: tf.Data2VecAudioForCTC(
        tf.Data2VecAudioConfig(**SPEECH | {"num_conv_pos_embeddings": 2, "conv_pos_kernel_size": 3} | k)
    ),
    "sew": lambda **k: tf.SEWForCTC(tf.SEWConfig(**SPEECH | {"squeeze_factor": 2} | k)),
    "electra": lambda **k: tf.ElectraForSequenceClassification(
        tf.ElectraConfig(**TEXT | {"embedding_size": 16, "max_position_embeddings": 40} | k)
    ),
    "mpnet": lambda **k: tf.MPNetForSequenceClassification(
        tf.MPNetConfig(**TEXT | {"max_position_embeddings": 40} | k)
    ),
    "deberta_v2": lambda **k: tf.DebertaV2ForSequenceClassification(
        tf.DebertaV2Config(
            **TEXT,
            max_position_embeddings=40,
            type_vocab_size=0,
            relative_attention=True,
            position_buckets=8,
            pos_att_type=["p2c", "c2p"],
            norm_rel_ebd="layer_norm",
            share_att_key=True,
            position_biased_input=False,
        )
    ),
    "qwen2": lambda **k: tf.Qwen2ForCausalLM(tf.Qwen2Config(**TEXT, num_key_value_heads=2, pad_token_id=0)),
    "mbart": lambda **k: tf.MBartForConditionalGeneration(tf.MBartConfig(**SEQ2SEQ | k)),
    "dinov2": lambda **k: tf.Dinov2ForImageClassification(
        tf.Dinov2Config(**{a: b for a, b in IMAGE.items() if a != "intermediate_size"})
    ),
    "clip": lambda **k: tf.CLIPModel(
        tf.CLIPConfig(text_config=CLIP_TEXT, vision_config=CLIP_VISION, projection_dim=16)
    ),
    "clip_text": lambda **k: tf.CLIPTextModelWithProjection(tf.CLIPTextConfig(**CLIP_TEXT)),
    "clip_vision": lambda **k: tf.CLIPForImageClassification(
        tf.CLIPConfig(text_config=CLIP_TEXT, vision_config=CLIP_VISION, projection_dim=16)
    ),
    "speech_encoder_decoder": lambda **k: tf.SpeechEncoderDecoderModel(
        encoder=tf.Wav2Vec2Model(tf.Wav2Vec2Config(**SPEECH)),
        decoder=tf.MBartForCausalLM(tf.MBartConfig(**SEQ2SEQ, is_decoder=True, add_cross_attention=True)),
    ),
    "tanh": lambda **k: TanhNetwork(TanhConfig(**k)),
}


def tiny(family: str, **changes: Any) -> tf.PreTrainedModel:
    """A tiny model in evaluation mode; the same call gives the same weights."""
    return _seeded(lambda: FAMILIES[family](**changes))


def _seeded(make: Callable[[], tf.PreTrainedModel]) -> tf.PreTrainedModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = make().eval()
        for parameter in model.parameters():  # biases and norms that do something
            if parameter.ndim < 2:
                parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def hooks_of(model: nn.Module) -> int:
    """How many forward hooks a model has."""
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())
