"""Makes `AutoConfig`, `AutoTokenizer` and `AutoProcessor` read what is saved with stitched models."""

from __future__ import annotations

import transformers

from hf_stitch.loading.stitched_tokenizer import StitchedTokenizer
from hf_stitch.models.configuration_stitched import StitchedConfig


def register_readers() -> None:
    """Again changes nothing."""
    transformers.AutoConfig.register(StitchedConfig.model_type, StitchedConfig, exist_ok=True)
    transformers.AutoTokenizer.register(StitchedConfig, StitchedTokenizer, exist_ok=True)
