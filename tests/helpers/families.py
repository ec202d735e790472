"""All families with the hook points of the matrix: embedding, first, middle and last block."""

from __future__ import annotations

# family of tiny_models (what follows / only tells two sets of points apart): embedding, block with {} for its number,
# numbers of the first, middle and last block
POINTS: dict[str, tuple[str, str]] = {
    "wav2vec2": ("wav2vec2.feature_projection", "wav2vec2.encoder.layers.{}"),
    "wav2vec2_stable": ("wav2vec2.feature_projection", "wav2vec2.encoder.layers.{}"),
    "hubert": ("hubert.feature_projection", "hubert.encoder.layers.{}"),
    "wavlm": ("wavlm.feature_projection", "wavlm.encoder.layers.{}"),
    "data2vec_audio": ("data2vec_audio.feature_projection", "data2vec_audio.encoder.layers.{}"),
    "sew": ("sew.feature_extractor", "sew.encoder.layers.{}"),
    "whisper": ("encoder.conv2", "encoder.layers.{}"),
    "xlnet": ("transformer.word_embedding", "transformer.layer.{}"),
    "roberta": ("roberta.embeddings", "roberta.encoder.layer.{}"),
    "bert": ("bert.embeddings", "bert.encoder.layer.{}"),
    "distilbert": ("distilbert.embeddings", "distilbert.transformer.layer.{}"),
    "electra": ("electra.embeddings", "electra.encoder.layer.{}"),
    "albert": ("albert.embeddings", "albert.encoder.albert_layer_groups.0.albert_layers.0#{}"),
    "deberta_v2": ("deberta.embeddings", "deberta.encoder.layer.{}"),
    "modernbert": ("model.embeddings", "model.layers.{}"),
    "mpnet": ("mpnet.embeddings", "mpnet.encoder.layer.{}"),
    "t5": ("encoder.embed_tokens", "encoder.block.{}"),
    "t5/decoder": ("decoder.embed_tokens", "decoder.block.{}"),
    "t5_encoder": ("encoder.embed_tokens", "encoder.block.{}"),
    "mbart": ("model.encoder.embed_tokens", "model.encoder.layers.{}"),
    "mbart/decoder": ("model.decoder.embed_tokens", "model.decoder.layers.{}"),
    "bart": ("model.encoder.embed_tokens", "model.encoder.layers.{}"),
    "bart/decoder": ("model.decoder.embed_tokens", "model.decoder.layers.{}"),
    "speech_encoder_decoder": ("encoder.feature_projection", "encoder.encoder.layers.{}"),
    "speech_encoder_decoder/decoder": ("decoder.model.decoder.embed_tokens", "decoder.model.decoder.layers.{}"),
    "gpt2": ("transformer.wte", "transformer.h.{}"),
    "gpt2_lm": ("transformer.drop", "transformer.h.{}"),
    "llama": ("model.embed_tokens", "model.layers.{}"),
    "qwen2": ("model.embed_tokens", "model.layers.{}"),
    "vit": ("vit.embeddings", "vit.layers.{}"),
    "dinov2": ("dinov2.embeddings", "dinov2.encoder.layer.{}"),
    "clip/text": ("text_model.embeddings", "text_model.encoder.layers.{}"),
    "clip/vision": ("vision_model.embeddings", "vision_model.encoder.layers.{}"),
    "clip_text": ("text_model.embeddings", "text_model.encoder.layers.{}"),
    "clip_vision": ("vision_model.embeddings", "vision_model.encoder.layers.{}"),
    "resnet": ("resnet.embedder", "resnet.encoder.stages.{}"),
    "tanh": ("layers.0", "layers.{}"),
}
BLOCKS = {"bart": (0, 1), "bart/decoder": (0, 1), "resnet": (0, 1), "tanh": (1,)}


def cells() -> list[tuple[str, str]]:
    """(family, hook point) of the whole matrix."""
    found = []
    for family, (embedding, block) in POINTS.items():
        found.append((family, embedding))
        found += [(family, block.format(number)) for number in BLOCKS.get(family, (0, 1, 2))]
    return found
