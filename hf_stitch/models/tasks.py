"""What a stitched model answers, and the pipeline tasks that fit it; read from its configuration alone.

Configurations here are a `StitchedConfig`, typed as what it is made of: its module reads these functions.
"""

from __future__ import annotations

from typing import Literal

from transformers import PretrainedConfig

from hf_stitch.activations.hooked_model import HookedModel
from hf_stitch.errors import ArtifactError
from hf_stitch.loading.modality import modality
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
    if suffix["plan"]["inject"] == "kept":
        return True
    inside_encoder = "encoder_outputs" not in suffix["plan"].get("given", ())
    return inside_encoder and bool(getattr(config.target, "is_encoder_decoder", False))


def continues(config: PretrainedConfig) -> bool:
    """Whether what is generated continues the source's text in the source's own tokens."""
    suffix = config.ends["suffix"]
    return bool(suffix.get("shares_tokens")) and suffix["plan"]["inject"] == "kept" and generates(config)


def answer_of(config: PretrainedConfig) -> Answer:
    """labels (one row of class scores), text (generated), frames (CTC classes over time), or vector (all else)."""
    if generates(config):
        return "text"
    name = config.ends["suffix"].get("class", "")
    if name.endswith("ForCTC"):
        return "frames"
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
    """The pipeline tasks that fit the model, a built-in one first where there is one."""
    answer, kind = answer_of(config), modality(config)
    own = [CUSTOM[answer]]
    needs_both_tokenizers = facts_of(config.sequence).needs_target_spans
    # Built-in pipelines make no spans, and put the prompt before what was generated.
    if needs_both_tokenizers or (answer == "text" and kind == "text" and not continues(config)):
        return own
    return [BUILT_IN[kind, answer], *own] if (kind, answer) in BUILT_IN else own


def check_task(config: PretrainedConfig, task: str | None) -> None:
    """Refuse one of the tasks named here where it does not fit; nothing is said of others.

    Raises:
        ArtifactError: the task would misread the answer, or its input is not what the model takes.
    """
    known = {*BUILT_IN.values(), *CUSTOM.values()}
    if task in known and task not in (fitting := tasks_of(config)):
        ends = config.ends["prefix"].get("class"), config.ends["suffix"].get("class")
        raise ArtifactError(
            f"a stitched model of {ends[0]} and {ends[1]} does not answer the task {task!r}; it answers "
            f"{' or '.join(fitting)} (pipelines named stitched-... come with hf_stitch)"
        )


# Names of the Hub's tasks.
WRITING = {"audio": "automatic-speech-recognition", "image": "image-to-text"}


def is_classifier(end: HookedModel) -> bool:
    """True when a model's answer is a class."""
    config = end.model.config
    return (
        config.problem_type != "regression" and "Classification" in type(end.model).__name__ and config.num_labels > 1
    )


def task_of(source: HookedModel, target: HookedModel) -> str:
    """The Hub's name for what a stitched model does, from what goes in and what comes out."""
    if target.text_output is not None:
        texts = "text-generation" if target.text_output.mode == "prompt" else "text2text-generation"
        return WRITING.get(source.preparer.modality, texts)
    if source.preparer.modality == "vector":
        return "tabular-classification" if is_classifier(target) else "tabular-regression"
    return f"{source.preparer.modality}-classification"  # the Hub counts regressors of texts and sounds among these
