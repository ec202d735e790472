"""Configuration of the Speech2Text2 decoder, with the keys that published checkpoints have."""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig


class Speech2Text2Config(PretrainedConfig):
    """A transformer decoder with cross-attention, as in fairseq's speech-to-text models (Wang et al. 2021).

    Args:
        d_model, decoder_layers, decoder_attention_heads, decoder_ffn_dim: sizes.
        scale_embedding: multiply token embeddings by sqrt(d_model).
        max_source_positions, max_target_positions: kept for checkpoints; sinusoids have no limit.
    """

    model_type = "speech_to_text_2"
    keys_to_ignore_at_inference = ["cache", "past_key_values"]  # noqa: RUF012 - transformers reads it
    attribute_map = {  # noqa: RUF012
        "num_attention_heads": "decoder_attention_heads",
        "hidden_size": "d_model",
    }

    def __init__(
        self,
        # Defaults as of transformers 4, which checkpoints that leave a key out rely on.
        vocab_size: int = 10000,
        decoder_layers: int = 6,
        decoder_ffn_dim: int = 2048,
        decoder_attention_heads: int = 4,
        decoder_layerdrop: float = 0.0,
        use_cache: bool = True,
        activation_function: str = "relu",
        d_model: int = 256,
        dropout: float = 0.1,
        attention_dropout: float = 0.0,
        activation_dropout: float = 0.0,
        init_std: float = 0.02,
        decoder_start_token_id: int = 2,
        scale_embedding: bool = True,
        pad_token_id: int = 1,
        bos_token_id: int = 0,
        eos_token_id: int = 2,
        max_source_positions: int = 6000,
        max_target_positions: int = 1024,
        tie_word_embeddings: bool = True,
        **kwargs: Any,
    ) -> None:
        self.vocab_size, self.d_model = vocab_size, d_model
        self.decoder_layers, self.decoder_ffn_dim = decoder_layers, decoder_ffn_dim
        self.decoder_attention_heads, self.decoder_layerdrop = decoder_attention_heads, decoder_layerdrop
        self.use_cache, self.activation_function = use_cache, activation_function
        self.dropout, self.attention_dropout = dropout, attention_dropout
        self.activation_dropout, self.init_std = activation_dropout, init_std
        self.decoder_start_token_id, self.scale_embedding = decoder_start_token_id, scale_embedding
        self.pad_token_id, self.bos_token_id, self.eos_token_id = pad_token_id, bos_token_id, eos_token_id
        self.max_source_positions, self.max_target_positions = max_source_positions, max_target_positions
        self.tie_word_embeddings = tie_word_embeddings
        # Published decoder configs were written by a whole speech-to-text model: they count its encoder's layers and
        # call it an encoder-decoder. Caches are sized by these, so they must speak of this decoder.
        for stale in ("num_hidden_layers", "is_decoder", "is_encoder_decoder"):
            kwargs.pop(stale, None)
        self.num_hidden_layers = decoder_layers
        self.is_decoder, self.is_encoder_decoder = True, False
        self.add_cross_attention = kwargs.pop("add_cross_attention", True)
        super().__init__(**kwargs)
