"""The configuration of a model that is not here: from the recipe, the local cache, or a table of public facts."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hf_stitch.errors import RecipeError, StitchError, nearest
from hf_stitch.loading.model_classes import register_ours
from hf_stitch.loading.models import load_config
from hf_stitch.recipe.names import is_folder, is_path, local_path
from hf_stitch.recipe.side import Side

if TYPE_CHECKING:
    from transformers import PretrainedConfig

# Sizes from each model's config.json on the Hub; what is absent is the default of its class in transformers.
_WAV2VEC2 = {
    "model_type": "wav2vec2", "architectures": ["Wav2Vec2ForCTC"], "hidden_size": 768, "num_hidden_layers": 12,
    "num_attention_heads": 12, "intermediate_size": 3072, "vocab_size": 32, "pad_token_id": 0,
}  # fmt: skip
_WAV2VEC2_LARGE = {
    **_WAV2VEC2, "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096,
}  # fmt: skip
_WAV2VEC2_LV60 = {**_WAV2VEC2_LARGE, "do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True}
_ROBERTA = {
    "model_type": "roberta", "architectures": ["RobertaForSequenceClassification"], "vocab_size": 50265,
    "max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5,
    "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
_ROBERTA_LARGE = {
    **_ROBERTA, "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096,
}  # fmt: skip
_XLNET = {
    "model_type": "xlnet", "architectures": ["XLNetForSequenceClassification"], "vocab_size": 32000, "d_model": 768,
    "n_layer": 12, "n_head": 12, "d_inner": 3072, "pad_token_id": 5, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
_SPEECH_TO_TEXT_2 = {
    "model_type": "speech_to_text_2", "architectures": ["Speech2Text2ForCausalLM"], "d_model": 256,
    "decoder_layers": 7, "decoder_ffn_dim": 2048, "decoder_attention_heads": 4, "vocab_size": 10224,
    "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 2,
}  # fmt: skip
_VIT = {
    "model_type": "vit", "architectures": ["ViTForImageClassification"], "hidden_size": 768, "num_hidden_layers": 12,
    "num_attention_heads": 12, "intermediate_size": 3072, "image_size": 224, "patch_size": 16, "num_labels": 1000,
}  # fmt: skip
_GPT2 = {
    "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "hidden_size": 768, "num_hidden_layers": 12,
    "num_attention_heads": 12, "max_position_embeddings": 1024, "vocab_size": 50257, "bos_token_id": 50256,
    "eos_token_id": 50256,
}  # fmt: skip
KNOWN: dict[str, dict[str, Any]] = {
    "distilbert/distilbert-base-uncased-finetuned-sst-2-english": {
        "model_type": "distilbert", "architectures": ["DistilBertForSequenceClassification"], "dim": 768, "n_layers": 6,
        "n_heads": 12, "hidden_dim": 3072, "vocab_size": 30522, "max_position_embeddings": 512, "pad_token_id": 0,
        "id2label": {"0": "NEGATIVE", "1": "POSITIVE"}, "label2id": {"NEGATIVE": 0, "POSITIVE": 1},
    },
    "facebook/deit-small-patch16-224": {
        **_VIT, "hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 1536,
    },
    "facebook/s2t-wav2vec2-large-en-de": {
        "model_type": "speech-encoder-decoder", "architectures": ["SpeechEncoderDecoderModel"],
        "encoder": {**_WAV2VEC2_LV60, "architectures": ["Wav2Vec2Model"]}, "decoder": _SPEECH_TO_TEXT_2,
        "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2,
    },
    "facebook/wav2vec2-base-960h": _WAV2VEC2,
    "facebook/wav2vec2-large-960h": _WAV2VEC2_LARGE,
    "facebook/wav2vec2-large-960h-lv60-self": _WAV2VEC2_LV60,
    "google/vit-base-patch16-224": _VIT,
    "microsoft/resnet-50": {
        "model_type": "resnet", "architectures": ["ResNetForImageClassification"], "embedding_size": 64,
        "hidden_sizes": [256, 512, 1024, 2048], "depths": [3, 4, 6, 3], "layer_type": "bottleneck", "num_labels": 1000,
    },
    "openai/whisper-base": {
        "model_type": "whisper", "architectures": ["WhisperForConditionalGeneration"], "d_model": 512,
        "encoder_layers": 6, "decoder_layers": 6, "encoder_attention_heads": 8, "decoder_attention_heads": 8,
        "encoder_ffn_dim": 2048, "decoder_ffn_dim": 2048, "vocab_size": 51865, "max_target_positions": 448,
        "pad_token_id": 50257, "bos_token_id": 50257, "eos_token_id": 50257, "decoder_start_token_id": 50258,
    },
    "openai-community/gpt2": _GPT2,
    "openai-community/gpt2-medium": {
        **_GPT2, "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16,
    },
    "patrickvonplaten/wav2vec2-librispeech-clean-100h-demo-dist": {
        **_WAV2VEC2_LV60, "vocab_size": 31, "pad_token_id": 28,
    },
    "roberta-base": {**_ROBERTA, "architectures": ["RobertaForMaskedLM"]},
    "roberta-large": {**_ROBERTA_LARGE, "architectures": ["RobertaForMaskedLM"]},
    # Of these two the class that sentence-transformers loads; the second was saved from MPNetForMaskedLM.
    "sentence-transformers/all-MiniLM-L6-v2": {
        "model_type": "bert", "architectures": ["BertModel"], "hidden_size": 384, "num_hidden_layers": 6,
        "num_attention_heads": 12, "intermediate_size": 1536, "vocab_size": 30522, "pad_token_id": 0,
    },
    "sentence-transformers/all-mpnet-base-v2": {
        "model_type": "mpnet", "architectures": ["MPNetModel"], "hidden_size": 768, "num_hidden_layers": 12,
        "num_attention_heads": 12, "intermediate_size": 3072, "vocab_size": 30527, "max_position_embeddings": 514,
        "relative_attention_num_buckets": 32, "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2,
    },
    "siebert/sentiment-roberta-large-english": {
        **_ROBERTA_LARGE, "id2label": {"0": "NEGATIVE", "1": "POSITIVE"}, "label2id": {"NEGATIVE": 0, "POSITIVE": 1},
    },
    "textattack/xlnet-base-cased-SST-2": _XLNET,
    "xlnet-base-cased": {**_XLNET, "architectures": ["XLNetLMHeadModel"]},
}  # fmt: skip
"""Published sizes of the Hub models that shipped recipes name, for rehearsals only: a fit reads the model's own."""


def configuration(side: Side, given: str | Mapping[str, Any] | None) -> tuple[PretrainedConfig, str]:
    """The configuration of one side, and where it came from.

    Args:
        given: the recipe's `rehearse.source` or `rehearse.target`.

    Raises:
        RecipeError: it is nowhere at hand, or what was given is none.
    """
    if given is not None:
        return _made(*_read(given, side)), "the recipe's rehearse: part"
    try:
        return load_config(side), "the model's own files"
    except StitchError:
        if ("/" in side.model and not is_path(side.model)) or side.model in KNOWN:
            return _from_table(side), "published sizes"
        raise


def _from_table(side: Side) -> PretrainedConfig:
    if side.model not in KNOWN:
        raise RecipeError(
            f"model {side.model!r}: its configuration is neither in the local cache nor among those known for "
            "rehearsals; give its config.json (file, folder or content) as rehearse.source or rehearse.target, or "
            f"fetch it with `hf download {side.model} config.json`; {nearest(side.model, KNOWN)}"
        )
    return _made(KNOWN[side.model], side.model)


def _read(given: str | Mapping[str, Any], side: Side) -> tuple[Mapping[str, Any], str]:
    if isinstance(given, Mapping):
        return given, f"rehearse: configuration of {side.model!r}"
    path = local_path(given)
    path = path / "config.json" if is_folder(path) else path
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError(f"rehearse: no configuration at {path}; expected a config.json or its folder") from None
    except (OSError, ValueError) as error:
        raise RecipeError(f"rehearse: {path} is no config.json: {error}") from None
    if not isinstance(content, dict):
        raise RecipeError(f"rehearse: {path} is no config.json: expected an object, got {type(content).__name__}")
    return content, str(path)


def _made(content: Mapping[str, Any], where: str) -> PretrainedConfig:
    from transformers import AutoConfig

    plain = copy.deepcopy(dict(content))
    register_ours(plain)
    try:
        return AutoConfig.for_model(plain.pop("model_type", "none"), **plain)
    except (ValueError, TypeError, KeyError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RecipeError(f"{where}: names no model that transformers knows ({first[:160]})") from error
