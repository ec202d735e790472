"""Makes `AutoConfig`, `AutoModel` and the pipelines know stitched models."""

from __future__ import annotations

import transformers

from hf_stitch.models.configuration_stitched import AUTO_CLASSES, StitchedConfig
from hf_stitch.models.modeling_stitched import StitchedModel


def register() -> None:
    """Register with the Auto classes; calling it again changes nothing."""
    transformers.AutoConfig.register(StitchedConfig.model_type, StitchedConfig, exist_ok=True)
    for name in AUTO_CLASSES:
        getattr(transformers, name).register(StitchedConfig, StitchedModel, exist_ok=True)
