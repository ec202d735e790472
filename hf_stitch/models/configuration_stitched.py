"""Configuration of a stitched model: two sub-configs, the two cuts, and the shapes of what lies between."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from transformers import AutoConfig, PretrainedConfig

from hf_stitch.errors import ArtifactError
from hf_stitch.loading.model_classes import loaded_config, not_imported, register_ours
from hf_stitch.models.hub.shim import auto_map
from hf_stitch.models.tasks import answer_of, samples_per_position
from hf_stitch.recipe.side import SIDES

AUTO_CLASSES = (
    "AutoModel",
    "AutoModelForAudioClassification",
    "AutoModelForCTC",
    "AutoModelForCausalLM",
    "AutoModelForImageClassification",
    "AutoModelForSequenceClassification",
    "AutoModelForSpeechSeq2Seq",
)
FORMAT = 2  # raised when a saved model can no longer be read by the code before
# How attention and experts are computed: transformers sets both anew in all parts of a configuration that it makes.
_IMPLEMENTATIONS = ("_attn_implementation_internal", "_experts_implementation_internal")
WITH_VECTOR = 3  # of models whose answers are vectors, which versions before would not read as such
IN_THE_MIDDLE = 4  # of causal targets in the middle, which versions before would start at their embedding
READABLE = (1, FORMAT, WITH_VECTOR, IN_THE_MIDDLE)  # 1: without a trust gauge


class StitchedConfig(PretrainedConfig):
    """Everything from which the empty `StitchedModel` is built.

    Args:
        source, target: configs of the two models (or their dicts).
        prefix, suffix: plain data of the two halves, held as `ends["prefix"]` and `ends["suffix"]` (pipelines take an
            attribute `prefix` for text): `class` (name in transformers), `model`, `revision`, `point` (the hook
            point), `plan` (which modules are left out); for the prefix `ctc_head` where the length rule needs one, for
            the suffix `generation` where the target generates, and `shares_tokens` where both have one vocabulary; of a
            model that answers with a vector `vector`, see `hf_stitch.loading.vector_head.VectorHead`; of a causal model
            hooked in the middle `cache`, what is kept from step to step as it generates. Of a class of the user's
            `module`, where it is defined, `kind`, the class of transformers that it inherits from, `config` and
            `config_module`, and `answers` where it does not say by its name that it tells classes apart; `built` is
            False where its structure has to be given by who loads it, and `build` a digest of that.
        layer: spec of the stitching layer.
        trust: spec of the trust gauge, empty where there is none.
        sequence: spec of the length rule.
        recipe: the recipe as plain data, and `fingerprint` its hash.
        save: `full`, or `map`: the saved weights are the map's alone, see `hf_stitch.models.hub.map_only`.
    """

    model_type = "hf_stitch"
    sub_configs = {"source": AutoConfig, "target": AutoConfig}  # noqa: RUF012 - transformers reads it
    has_no_defaults_at_init = True  # else transformers writes only what differs from an empty configuration

    def __init__(
        self,
        source: Any = None,
        target: Any = None,
        prefix: dict | None = None,
        suffix: dict | None = None,
        layer: dict | None = None,
        sequence: dict | None = None,
        trust: dict | None = None,
        recipe: dict | None = None,
        fingerprint: str = "",
        stitch_format: int = FORMAT,
        save: str = "full",
        **kwargs: Any,
    ) -> None:
        self.source = _config(source, prefix)
        self.target = _config(target, suffix)
        self.ends = {"prefix": prefix or {}, "suffix": suffix or {}}
        self.layer, self.sequence, self.trust = layer or {}, sequence or {}, trust or {}
        self.recipe, self.fingerprint, self.stitch_format = recipe or {}, fingerprint, stitch_format
        self.save = save
        for key in ("weights_digest", "files_digest"):  # of the files beside it, see `hf_stitch.models.files_digest`
            kwargs.pop(key, None)
        kwargs["auto_map"] = auto_map(AUTO_CLASSES)  # anew: loading from the Hub puts the repository into it
        if self.target is not None:  # pipelines read labels at the top level
            for key in ("id2label", "label2id", "problem_type"):
                kwargs.setdefault(key, getattr(self.target, key, None))
        # Each half ties its own weights; the whole has none to tie.
        kwargs.setdefault("tie_word_embeddings", False)
        chosen = [(part, name, vars(part).get(name)) for part in _parts(self) for name in _IMPLEMENTATIONS]
        super().__init__(**kwargs)
        for part, name, value in chosen:  # else it is unset in the halves, whose masks then do not fit
            if value is not None:
                setattr(part, name, value)

    @classmethod
    def register_for_auto_class(cls, auto_class: str = "AutoConfig") -> None:
        """Nothing to do: the shim stands for the code, which is never copied."""

    def to_dict(self) -> dict[str, Any]:
        content = super().to_dict()
        for key in SIDES:
            part = getattr(self, key)
            content[key] = part.to_dict() if isinstance(part, PretrainedConfig) else part
        return content | content.pop("ends")

    @property
    def inputs_to_logits_ratio(self) -> float:
        """Audio samples for one row of logits, by which transformers' speech recognition puts windows together.

        Raises:
            ArtifactError: a CTC target whose length rule does not follow the sound evenly.
        """
        return samples_per_position(self) if answer_of(self) == "frames" else 1.0

    def get_text_config(self, *args: Any, **kwargs: Any) -> PretrainedConfig:
        """The composite itself: generation helpers must not pick one of the halves."""
        return self


def _parts(config: PretrainedConfig) -> Iterator[PretrainedConfig]:
    """The configurations inside another, those inside them included."""
    for key in getattr(config, "sub_configs", {}):
        part = getattr(config, key, None)
        if isinstance(part, PretrainedConfig):
            yield part
            yield from _parts(part)


def check_config(config: StitchedConfig) -> None:
    """ArtifactError where a configuration is of another format or holds no stitched model."""
    where = config.name_or_path or "the configuration"
    if config.stitch_format not in READABLE:
        came, ours = config.stitch_format, FORMAT
        raise ArtifactError(
            f"{where} has format {came}, this hf_stitch reads format {ours}; fit it again or install its version"
        )
    if not (config.ends["prefix"] and config.ends["suffix"] and config.layer and config.sequence):
        raise ArtifactError(f"{where} holds no stitched model: expected a folder written by `hf-stitch fit`")


def _config(value: Any, end: dict | None) -> PretrainedConfig | None:
    if not isinstance(value, dict):
        return value
    if name := (end or {}).get("config"):
        own = loaded_config(str(value.get("model_type") or ""), name)
        if own is None:
            raise ArtifactError(not_imported(name, str((end or {}).get("config_module"))))
        return own(**{key: one for key, one in value.items() if key != "model_type"})
    # A copy, of which `model_type` is taken: the caller's may be shared.
    content = dict(value)
    register_ours(content)
    return AutoConfig.for_model(content.pop("model_type"), **content)
