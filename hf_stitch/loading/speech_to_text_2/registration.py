"""Makes the Auto classes know Speech2Text2."""

from __future__ import annotations

MODEL_TYPE = "speech_to_text_2"


def register() -> None:
    """Make the Auto classes know configuration, decoder and tokenizer; calling it again changes nothing."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    from hf_stitch.loading.speech_to_text_2.configuration_speech_to_text_2 import Speech2Text2Config
    from hf_stitch.loading.speech_to_text_2.modeling_speech_to_text_2 import Speech2Text2ForCausalLM
    from hf_stitch.loading.speech_to_text_2.tokenization_speech_to_text_2 import Speech2Text2Tokenizer

    AutoConfig.register(MODEL_TYPE, Speech2Text2Config, exist_ok=True)
    AutoModelForCausalLM.register(Speech2Text2Config, Speech2Text2ForCausalLM, exist_ok=True)
    AutoTokenizer.register(Speech2Text2Config, tokenizer_class=Speech2Text2Tokenizer, exist_ok=True)
