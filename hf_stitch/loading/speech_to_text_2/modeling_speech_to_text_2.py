"""The Speech2Text2 decoder: sinusoidal positions, post-norm layers with self- and cross-attention, a linear head.

Written from the description of the architecture (Vaswani et al. 2017; Wang et al. 2020, 2021); module names are those
of the published weights.
"""

from __future__ import annotations

import inspect
import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.cache_utils import Cache, DynamicCache, EncoderDecoderCache
from transformers.generation import GenerationMixin
from transformers.masking_utils import create_bidirectional_mask, create_causal_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions, CausalLMOutputWithCrossAttentions
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils import can_return_tuple
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from hf_stitch.loading.speech_to_text_2.configuration_speech_to_text_2 import Speech2Text2Config

# transformers 5.24 renamed the argument and output field `past_key_values` to `cache`, and warns of the old name. Here
# both are taken, and transformers is called and answered by the name that it has.
CACHE = "cache" if "cache" in inspect.signature(create_causal_mask).parameters else "past_key_values"


class Speech2Text2Positions(nn.Module):
    """Sinusoids of position numbers, computed on the fly: there is no table that loading could leave unfilled."""

    def __init__(self, width: int, padding: int) -> None:
        super().__init__()
        self.width, self.padding = width, padding

    def numbers(self, real: Tensor, past: Tensor | int) -> Tensor:
        """Position numbers (b, t): real tokens (b, t) bool count on from `past` real ones, padding has its own id."""
        counted = real.long().cumsum(1) + (past[:, None] if isinstance(past, Tensor) else past)
        return counted * real + self.padding

    def forward(self, real: Tensor, past: Tensor | int, dtype: torch.dtype) -> Tensor:
        """(b, t, width): sines, then cosines, of angles that fall geometrically to 1/10000; padding gives zeros."""
        half = self.width // 2
        steps = torch.arange(half, device=real.device, dtype=torch.float32)
        # `half - 1`, and sines before cosines: as tensor2tensor and fairseq have it, not as the paper does.
        rates = torch.exp(steps * -(math.log(10000) / max(half - 1, 1)))
        angles = self.numbers(real, past).float()[..., None] * rates
        found = torch.cat([angles.sin(), angles.cos()], -1)
        found = nn.functional.pad(found, (0, self.width - 2 * half))
        return (found * real[..., None]).to(dtype)


def eager_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **_kwargs: Any,
) -> tuple[Tensor, Tensor]:
    """Softmax attention of (b, heads, t, d), with the weights (b, heads, t, s)."""
    scores = query @ key.transpose(-1, -2) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = nn.functional.dropout(scores.softmax(-1), dropout, module.training)
    return (weights @ value).transpose(1, 2).contiguous(), weights


class Speech2Text2Attention(nn.Module):
    """Attention over the tokens so far, or with `crossed` over the encoder's states."""

    def __init__(self, config: Speech2Text2Config, layer_idx: int, crossed: bool) -> None:
        super().__init__()
        width = config.d_model
        if width % config.decoder_attention_heads:
            raise ValueError(f"d_model {width} is no multiple of {config.decoder_attention_heads} attention heads")
        self.config, self.layer_idx, self.crossed = config, layer_idx, crossed
        self.head_dim = width // config.decoder_attention_heads
        self.scaling = self.head_dim**-0.5
        self.is_causal = not crossed  # attention kernels ask for it where there is no mask
        self.k_proj, self.v_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.q_proj, self.out_proj = nn.Linear(width, width), nn.Linear(width, width)

    def _heads(self, values: Tensor) -> Tensor:
        return values.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)

    def _keys_and_values(self, states: Tensor, cache: Cache | None) -> tuple[Tensor, Tensor]:
        pair = cache if isinstance(cache, EncoderDecoderCache) else None
        # The encoder's states are the same at every step: their keys and values are computed once.
        if self.crossed and pair is not None and pair.is_updated.get(self.layer_idx):
            known = pair.cross_attention_cache.layers[self.layer_idx]
            return known.keys, known.values
        keys, values = self._heads(self.k_proj(states)), self._heads(self.v_proj(states))
        if self.crossed:
            if pair is not None:
                pair.is_updated[self.layer_idx] = True
                return pair.cross_attention_cache.update(keys, values, self.layer_idx)
            return keys, values  # a cache of tokens alone has no room for them
        if cache is None:
            return keys, values
        return (cache if pair is None else pair.self_attention_cache).update(keys, values, self.layer_idx)

    def forward(
        self, hidden_states: Tensor, states: Tensor, attention_mask: Tensor | None, cache: Cache | None, **kwargs: Any
    ) -> tuple[Tensor, Tensor | None]:
        """Attend from (b, t, d) to `states` (b, s, d); returns (b, t, d) and the weights where the kernel has them."""
        keys, values = self._keys_and_values(states, cache)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention)
        found, weights = attend(
            self, self._heads(self.q_proj(hidden_states)), keys, values, attention_mask, scaling=self.scaling,
            dropout=self.config.attention_dropout if self.training else 0.0, **kwargs,
        )  # fmt: skip
        return self.out_proj(found.flatten(2)), weights


class Speech2Text2DecoderLayer(GradientCheckpointingLayer):
    """Self-attention, cross-attention and a feed-forward part; each is added, then normalised (post-norm)."""

    def __init__(self, config: Speech2Text2Config, layer_idx: int) -> None:
        super().__init__()
        width = config.d_model
        self.dropout, self.activation_dropout = config.dropout, config.activation_dropout
        self.self_attn = Speech2Text2Attention(config, layer_idx, crossed=False)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.encoder_attn = Speech2Text2Attention(config, layer_idx, crossed=True)
        self.encoder_attn_layer_norm = nn.LayerNorm(width)
        self.activation_fn = ACT2FN[config.activation_function]
        self.fc1, self.fc2 = nn.Linear(width, config.decoder_ffn_dim), nn.Linear(config.decoder_ffn_dim, width)
        self.final_layer_norm = nn.LayerNorm(width)

    def _dropped(self, values: Tensor, share: float) -> Tensor:
        return nn.functional.dropout(values, share, self.training)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        cache: Cache | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """One layer on (b, t, d); without encoder states there is no cross-attention."""
        cache = past_key_values if cache is None else cache
        found, _ = self.self_attn(hidden_states, hidden_states, attention_mask, cache, **kwargs)
        hidden_states = self.self_attn_layer_norm(hidden_states + self._dropped(found, self.dropout))
        if encoder_hidden_states is not None:
            found, _ = self.encoder_attn(hidden_states, encoder_hidden_states, encoder_attention_mask, cache, **kwargs)
            hidden_states = self.encoder_attn_layer_norm(hidden_states + self._dropped(found, self.dropout))
        inner = self._dropped(self.activation_fn(self.fc1(hidden_states)), self.activation_dropout)
        return self.final_layer_norm(hidden_states + self._dropped(self.fc2(inner), self.dropout))


class Speech2Text2PreTrainedModel(PreTrainedModel):
    """What decoder and language model share."""

    config_class = Speech2Text2Config
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _no_split_modules = ["Speech2Text2DecoderLayer"]  # noqa: RUF012 - transformers reads it
    # Old checkpoints hold the table of sinusoids, which is computed here.
    _keys_to_ignore_on_load_unexpected = [r"embed_positions\.weights?$"]  # noqa: RUF012

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            init.normal_(module.weight, std=self.config.init_std)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            init.normal_(module.weight, std=self.config.init_std)
            if module.padding_idx is not None and not getattr(module.weight, "_is_hf_initialized", False):
                init.zeros_(module.weight[module.padding_idx])
        elif isinstance(module, nn.LayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)


class Speech2Text2Decoder(Speech2Text2PreTrainedModel):
    """Token embeddings, positions and the layers."""

    _can_record_outputs = {  # noqa: RUF012 - transformers reads it
        "hidden_states": Speech2Text2DecoderLayer,
        "attentions": OutputRecorder(Speech2Text2Attention, index=1, layer_name="self_attn"),
        "cross_attentions": OutputRecorder(Speech2Text2Attention, index=1, layer_name="encoder_attn"),
    }

    def __init__(self, config: Speech2Text2Config) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.d_model, config.pad_token_id)
        self.embed_positions = Speech2Text2Positions(config.d_model, config.pad_token_id)
        self.layers = nn.ModuleList(Speech2Text2DecoderLayer(config, i) for i in range(config.decoder_layers))
        self.gradient_checkpointing = False
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        cache: Cache | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPastAndCrossAttentions:
        """Hidden states (b, t, d) of tokens (b, t), or of embeddings (b, t, d) that are already scaled.

        Args:
            attention_mask: (b, past + t), nonzero where a token is real.
            encoder_hidden_states, encoder_attention_mask: (b, s, d) and (b, s).
            cache, past_key_values: the same by its new and its old name.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("expected exactly one of input_ids and inputs_embeds")
        if inputs_embeds is None:
            scale = math.sqrt(self.config.d_model) if self.config.scale_embedding else 1.0
            inputs_embeds = self.embed_tokens(input_ids) * scale
        cache = past_key_values if cache is None else cache
        if use_cache and cache is None:
            cache = EncoderDecoderCache(DynamicCache(config=self.config), DynamicCache(config=self.config))
        tokens = cache.self_attention_cache if isinstance(cache, EncoderDecoderCache) else cache
        real, past = self._real(input_ids, inputs_embeds, attention_mask, tokens)
        places = self.embed_positions(real, past, inputs_embeds.dtype)
        hidden_states = nn.functional.dropout(inputs_embeds + places, self.config.dropout, self.training)
        causal = create_causal_mask(
            config=self.config, inputs_embeds=inputs_embeds, attention_mask=attention_mask, **{CACHE: tokens}
        )
        crossed = None
        if encoder_hidden_states is not None:
            crossed = create_bidirectional_mask(
                config=self.config,
                inputs_embeds=inputs_embeds,
                attention_mask=encoder_attention_mask,
                encoder_hidden_states=encoder_hidden_states,
            )
        for layer in self.layers:
            if self.training and torch.rand(()) < self.config.decoder_layerdrop:
                continue
            hidden_states = layer(
                hidden_states, causal, encoder_hidden_states,  # positional: checkpointing follows gradients of these
                encoder_attention_mask=crossed, **{CACHE: cache}, **kwargs,
            )  # fmt: skip
        return BaseModelOutputWithPastAndCrossAttentions(
            last_hidden_state=hidden_states, **{CACHE: cache if use_cache else None}
        )

    def _real(
        self, input_ids: Tensor | None, inputs_embeds: Tensor, attention_mask: Tensor | None, cache: Cache | None
    ) -> tuple[Tensor, Tensor | int]:
        """Which of the new tokens (b, t) are real, and how many real ones came before."""
        batch, length = inputs_embeds.shape[:2]
        real = torch.ones(batch, length, dtype=torch.bool, device=inputs_embeds.device)
        past: Tensor | int = cache.get_seq_length() if cache is not None else 0
        if input_ids is not None:
            real = input_ids != self.config.pad_token_id
        if attention_mask is not None and attention_mask.ndim == 2:
            seen = attention_mask.to(real.device).bool()
            real = real & seen[:, -length:]
            if seen.shape[1] > length:
                past = seen[:, :-length].sum(1)
        return real, past


class Speech2Text2DecoderWrapper(Speech2Text2PreTrainedModel):
    """Gives the decoder the name that published weights have (`model.decoder`)."""

    def __init__(self, config: Speech2Text2Config) -> None:
        super().__init__(config)
        self.decoder = Speech2Text2Decoder(config)
        self.post_init()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.decoder(*args, **kwargs)


class Speech2Text2ForCausalLM(Speech2Text2PreTrainedModel, GenerationMixin):
    """The decoder with its head; what `SpeechEncoderDecoderModel` takes as `decoder`."""

    _tied_weights_keys = {"lm_head.weight": "model.decoder.embed_tokens.weight"}  # noqa: RUF012

    def __init__(self, config: Speech2Text2Config) -> None:
        super().__init__(config)
        self.model = Speech2Text2DecoderWrapper(config)
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.model.decoder.embed_tokens

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        self.model.decoder.embed_tokens = value

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        cache: Cache | None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithCrossAttentions:
        """As `Speech2Text2Decoder`, with logits (b, t, vocab); `labels` (b, t) are those of the same positions."""
        found = self.model.decoder(
            input_ids=input_ids, attention_mask=attention_mask, encoder_hidden_states=encoder_hidden_states,
            encoder_attention_mask=encoder_attention_mask, cache=past_key_values if cache is None else cache,
            inputs_embeds=inputs_embeds, use_cache=use_cache, **kwargs,
        )  # fmt: skip
        logits = self.lm_head(found.last_hidden_state)
        loss = None
        if labels is not None:
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), labels.to(logits.device).flatten())
        return CausalLMOutputWithCrossAttentions(
            loss=loss, logits=logits, hidden_states=found.hidden_states, attentions=found.attentions,
            cross_attentions=found.cross_attentions, **{CACHE: getattr(found, CACHE)},
        )  # fmt: skip
