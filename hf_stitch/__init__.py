"""hf_stitch: run the first half of one pretrained model and the second half of another.

Importing this package is light: torch and transformers are imported when a name that needs them is first touched.
Once it is imported transformers' pipelines know stitched models; its Auto classes do after `register()`, or when
`StitchedModel` or `StitchedConfig` was touched.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hf_stitch.runtime.import_hooks import PIPELINES, SOUND, before_loaded, when_loaded
from hf_stitch.runtime.torchaudio_extra import torchaudio

if TYPE_CHECKING:
    from hf_stitch.errors import StitchError
    from hf_stitch.evaluation.metrics.catalogue import metric_path
    from hf_stitch.experiments.evaluate import evaluate
    from hf_stitch.experiments.fit import fit
    from hf_stitch.experiments.stitch import stitch
    from hf_stitch.models.configuration_stitched import StitchedConfig
    from hf_stitch.models.modeling_stitched import StitchedModel
    from hf_stitch.recipe.recipe import Recipe
    from hf_stitch.report.report import Report

__version__ = "0.1.0"

_HOMES = {
    "Recipe": "hf_stitch.recipe.recipe",
    "Report": "hf_stitch.report.report",
    "StitchError": "hf_stitch.errors",
    "StitchedConfig": "hf_stitch.models.configuration_stitched",
    "StitchedModel": "hf_stitch.models.modeling_stitched",
    "evaluate": "hf_stitch.experiments.evaluate",
    "fit": "hf_stitch.experiments.fit",
    "stitch": "hf_stitch.experiments.stitch",
    "metric_path": "hf_stitch.evaluation.metrics.catalogue",
}
_REGISTERED = ("StitchedConfig", "StitchedModel")

__all__ = [
    "Recipe",
    "Report",
    "StitchError",
    "StitchedConfig",
    "StitchedModel",
    "evaluate",
    "fit",
    "metric_path",
    "register",
    "stitch",
]


def register() -> None:
    """Make transformers' Auto classes and pipelines know stitched models, the zoo's networks, and Speech2Text2."""
    from hf_stitch.loading.speech_to_text_2.registration import register as register_decoder
    from hf_stitch.models.auto.registration import register as register_stitched
    from hf_stitch.zoo.networks.registry import register as register_networks

    register_stitched()
    register_networks()
    register_decoder()


def __getattr__(name: str) -> Any:
    if name == "metrics":  # deprecated, gone in the next release
        return importlib.import_module("hf_stitch.metrics")
    if name not in _HOMES:
        raise AttributeError(f"module 'hf_stitch' has no attribute {name!r}")
    if name in _REGISTERED:
        register()
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """What is public, without what this file imports for itself."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__") and name.endswith("__"))})


before_loaded(SOUND, torchaudio)
when_loaded(PIPELINES, register)
