"""What a stitched model answers, and the pipeline tasks that fit it; read from its configuration alone.

Configurations here are a `StitchedConfig`, typed as what it is made of: its module reads these functions.
"""

from __future__ import annotations

from typing import Literal

from transformers import PretrainedConfig, PreTrainedModel

from hf_stitch.activations.hooked_model import HookedModel
from hf_stitch.errors import ArtifactError
from hf_stitch.loading.modality import modality
from hf_stitch.loading.model_classes import is_custom, kind_name
from hf_stitch.loading.objects.wrapped import WrappedModule
from hf_stitch.recipe.sequence import facts_of
from hf_stitch.stitching.lengths.length_rule import LengthRule

Answer = Literal["labels", "text", "frames", "vector"]

# Names of transformers' pipelines.
BUILT_IN = {
    ("audio", "labels"): "audio-classification",
    ("image", "labels"): "image-classification",
    ("text", "labels"): "text-classification",
    ("audio", "text"): "automatic-speech-recognition",
    ("audio", "frames"): "automatic-speech-recognition",
    ("text", "text"): "text-generation",
}
# Names of the Hub for which transformers has, or had, no pipeline of its own: ours answer them. Others that would fit
# (text2text-generation, image-to-text) are names that it refuses, or takes for another task.
OF_THE_HUB = {
    ("vector", "labels"): "tabular-classification",
    ("vector", "vector"): "tabular-regression",
}
# Of vectors, by what the source takes: these pipelines give the first output, which is the vector.
EMBEDDING = {"text": "feature-extraction", "image": "image-feature-extraction"}
# By hand; both texts and CTC frames end as texts.
CUSTOM: dict[Answer, str] = {
    "labels": "stitched-classification",
    "text": "stitched-text",
    "frames": "stitched-text",
    "vector": "stitched-vector",
}


def generates(config: PretrainedConfig) -> bool:
    """Whether the target generates text from its hook point."""
    suffix = config.ends["suffix"]
    if "generation" not in suffix:
        return False
    if suffix["plan"]["inject"] == "kept" or in_steps(config):
        return True
    inside_encoder = "encoder_outputs" not in suffix["plan"].get("given", ())
    return inside_encoder and bool(getattr(config.target, "is_encoder_decoder", False))


def in_steps(config: PretrainedConfig) -> bool:
    """Whether a causal target is hooked in the middle, so that both halves run for each token that it generates."""
    return bool(config.ends["suffix"].get("writes", {}).get("way") == "middle")


def continues(config: PretrainedConfig) -> bool:
    """Whether what is generated continues the source's text in the source's own tokens."""
    suffix = config.ends["suffix"]
    # In the middle the new token is one of the source's too, which by spans none is.
    behind = suffix["plan"]["inject"] == "kept"
    if in_steps(config):
        behind = not facts_of(config.sequence).needs_target_spans
    return bool(suffix.get("shares_tokens")) and behind and generates(config)


def answer_of(config: PretrainedConfig) -> Answer:
    """labels (one row of class scores), text (generated), frames (CTC classes over time), or vector (all else)."""
    if generates(config):
        return "text"
    suffix = config.ends["suffix"]
    name = suffix.get("kind") or suffix.get("class", "")
    if name.endswith("ForCTC"):
        return "frames"
    if suffix.get("answers") == "labels":
        return "labels"
    return "labels" if "Classification" in name and "Token" not in name else "vector"


def spells(config: PretrainedConfig) -> bool:
    """Whether the answer is in tokens of the target, which its tokenizer turns into text."""
    return answer_of(config) in ("text", "frames")


def samples_per_position(config: PretrainedConfig) -> float:
    """Audio samples for one position of the target, where positions follow the sound evenly.

    Raises:
        ArtifactError: they do not, so that windows of a long sound cannot be put together position by position.
    """
    rule, own = LengthRule.from_spec(config.sequence), getattr(config.source, "inputs_to_logits_ratio", None)
    rate = rule.rule.rate
    if rate is None or not own:
        raise ArtifactError(
            "windows of CTC classes need a target position for every stretch of sound: sequence.length resample (or "
            f"trim at equal rates) with target_length ratio; this model has {rule.state.length} with "
            f"{rule.state.target_length}"
        )
    return float(own / rate)


def tasks_of(config: PretrainedConfig) -> list[str]:
    """The pipeline tasks that fit the model, that of its card first where there is one, our own last."""
    answer, kind = answer_of(config), modality(config)
    tag = BUILT_IN.get((kind, answer)) or OF_THE_HUB.get((kind, answer))
    if "vector" in config.ends["suffix"]:
        tag = EMBEDDING.get(kind)
    spans = facts_of(config.sequence).needs_target_spans
    # transformers' text generation puts the prompt before what was generated, and hands on tokens alone.
    other_text = (answer, kind) == ("text", "text") and (spans or not continues(config))
    # Times of words and true lengths come with the data; no pipeline takes them.
    if other_text or (spans and kind == "audio") or config.sequence.get("target_length") == "oracle":
        tag = None
    return [*filter(None, [tag]), CUSTOM[answer]]


def check_task(config: PretrainedConfig, task: str | None) -> None:
    """Refuse one of the tasks named here where it does not fit; nothing is said of others.

    Raises:
        ArtifactError: the task would misread the answer, or its input is not what the model takes.
    """
    known = {*BUILT_IN.values(), *OF_THE_HUB.values(), *CUSTOM.values()}
    if task in known and task not in (fitting := tasks_of(config)):
        ends = config.ends["prefix"].get("class"), config.ends["suffix"].get("class")
        raise ArtifactError(
            f"a stitched model of {ends[0]} and {ends[1]} does not answer the task {task!r}; it answers "
            f"{' or '.join(fitting)} (pipelines named stitched-... come with hf_stitch)"
        )


def is_classifier(end: HookedModel) -> bool:
    """True when a model's answer is a class."""
    config, name = end.model.config, kind_name(type(end.model))
    if config.problem_type == "regression" or config.num_labels < 2:
        return False
    return "Classification" in name or says_classes(end.model)


def says_classes(model: PreTrainedModel) -> bool:
    """Whether its configuration says that its answers are classes, of a model whose class is not transformers'."""
    own = is_custom(type(model)) or isinstance(model, WrappedModule)
    return own and "vector" not in model._modules and bool(model.config.problem_type == "single_label_classification")


def tag_of(config: PretrainedConfig) -> str | None:
    """The Hub's name for what a stitched model does, which `pipeline` answers; None where no such name fits."""
    [*found, _] = tasks_of(config)
    return found[0] if found else None
