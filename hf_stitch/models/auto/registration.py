"""Makes `AutoConfig`, the `AutoModel...` classes and the pipelines know stitched models."""

from __future__ import annotations

import sys

import transformers
from transformers.models.auto import modeling_auto

from hf_stitch.models.auto.readers import register_readers
from hf_stitch.models.auto.task_classes import ForCausalLM, ForClassification, ForSpeechRecognition
from hf_stitch.models.configuration_stitched import StitchedConfig
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.models.tasks import CUSTOM, OF_THE_HUB

CLASSES = {
    "AutoModel": StitchedModel,
    "AutoModelForAudioClassification": ForClassification,
    "AutoModelForCTC": ForSpeechRecognition,
    "AutoModelForCausalLM": ForCausalLM,
    "AutoModelForImageClassification": ForClassification,
    "AutoModelForSequenceClassification": ForClassification,
    "AutoModelForSpeechSeq2Seq": ForSpeechRecognition,
}
KNOWN_BY_NAME = {
    "MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES": "StitchedModel",
    "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES": "StitchedForGeneration",
    "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES": "StitchedModel",
    "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES": "StitchedModel",
    "MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES": "StitchedForGeneration",
}
"""Tables in which pipelines look a model's class up: is it known to the task, does it generate what was spoken."""
PIPELINES = {
    "stitched-classification": "classification.StitchedClassificationPipeline",
    "stitched-text": "text.StitchedTextPipeline",
    "stitched-vector": "vector.StitchedVectorPipeline",
}
# A card names these, so that `pipeline(model=ID)` looks for them.
ALIASES = {
    "tabular-classification": "stitched-classification",
    "tabular-regression": "stitched-vector",
}


def register() -> None:
    """Register with the Auto classes, and with the pipelines where they are loaded; again changes nothing."""
    register_readers()
    for name, model_class in CLASSES.items():
        getattr(transformers, name).register(StitchedConfig, model_class, exist_ok=True)
    for table, known in KNOWN_BY_NAME.items():
        # These tables have no `register`; pipelines warn of, or refuse, a class that is not in them.
        getattr(modeling_auto, table).setdefault(StitchedConfig.model_type, known)
    # Not imported here: that takes seconds, and an import hook calls when somebody else does.
    if pipelines := sys.modules.get("transformers.pipelines"):
        register_pipelines(pipelines)


def register_pipelines(pipelines: object) -> None:
    """Register the custom tasks, as paths, so that their module is loaded when the first of them is made."""
    assert set(PIPELINES) == set(CUSTOM.values())
    assert set(ALIASES) == set(OF_THE_HUB.values())
    known = pipelines.PIPELINE_REGISTRY.supported_tasks  # type: ignore[attr-defined]
    for task, own in {**{own: own for own in PIPELINES}, **ALIASES}.items():
        impl = f"hf_stitch.models.pipelines.{PIPELINES[own]}"
        known.setdefault(task, {"impl": impl, "pt": (transformers.AutoModel,), "type": "multimodal"})
