"""The class of a model: by its configuration, by name, and ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from hf_stitch.errors import RecipeError, nearest

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def class_named(name: str) -> Any:
    """The model class of that name, of transformers or of the zoo's networks. RecipeError when there is none."""
    import transformers

    found = getattr(transformers, name, None) or _our_class(name)
    if not _makes_models(found):
        known = [known for known in dir(transformers) if "For" in known or known.endswith("Model")]
        raise RecipeError(f"class {name!r}: no such model class in transformers; {nearest(name, known, limit=4)}")
    return found


def _makes_models(found: Any) -> bool:
    """True of classes of models and of transformers' Auto classes of models; not of configurations and tokenizers."""
    from transformers import PreTrainedModel
    from transformers.models.auto.auto_factory import _BaseAutoModelClass

    return isinstance(found, type) and issubclass(found, (PreTrainedModel, _BaseAutoModelClass))


def check_family(model_class: Any, config: PretrainedConfig, model: str) -> None:
    """RecipeError where a class asked for takes the configuration of another kind of model."""
    wanted = getattr(model_class, "config_class", None)
    if not hasattr(model_class, "_model_mapping") and (wanted is None or not isinstance(config, wanted)):
        own = ", ".join(config.architectures or []) or class_of(config).__name__
        takes = "is of no family" if wanted is None else f"takes a {wanted.__name__}"
        raise RecipeError(
            f"class {model_class.__name__!r} {takes}, and model {model!r} has a {type(config).__name__}; "
            f"leave `class` out, or take one of its own family, such as {own}"
        )


def class_of(config: PretrainedConfig, name: str | None = None) -> Any:
    """The class called `name`, else the configuration's first architecture, else what AutoModel would take."""
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_MAPPING

    if name:
        return _concrete(class_named(name), config)
    # The first is what the checkpoint was saved from.
    for wanted in (config.architectures or [])[:1]:
        with suppress(RecipeError):
            return _concrete(class_named(wanted), config)
    return MODEL_MAPPING.get(type(config), transformers.AutoModel)


def _concrete(model_class: Any, config: PretrainedConfig) -> Any:
    """The class, unless it is an abstract one: RecipeError."""
    # Before it is built: what transformers finds out of `PreTrainedModel` it keeps there, for all classes that inherit.
    if getattr(model_class, "config_class", None) is None and not hasattr(model_class, "_model_mapping"):
        check_family(model_class, config, config.name_or_path)
    return model_class


def register_ours(plain: dict) -> None:
    """Make AutoConfig know those model types in a plain configuration (parts included) that only we have."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    from hf_stitch.loading.speech_to_text_2 import registration

    unknown = {kind for kind in _model_types(plain) if kind not in CONFIG_MAPPING}
    if registration.MODEL_TYPE in unknown:
        registration.register()
    if unknown - {registration.MODEL_TYPE}:
        from hf_stitch.zoo.networks.registry import register

        register()


def _model_types(plain: dict) -> Iterator[str]:
    for key, value in plain.items():
        if key == "model_type":
            yield str(value)
        elif isinstance(value, dict):
            yield from _model_types(value)


def _our_class(name: str) -> Any:
    from hf_stitch.zoo.networks import registry

    if name == "Speech2Text2ForCausalLM":
        from hf_stitch.loading.speech_to_text_2.modeling_speech_to_text_2 import Speech2Text2ForCausalLM

        return Speech2Text2ForCausalLM
    return registry.class_called(name)


def own_labels(config: Any) -> dict[str, int] | None:
    """The class names of a model, None where it has only LABEL_0, LABEL_1, ..."""
    labels = getattr(config, "label2id", None)
    if not labels or all(re.fullmatch(r"LABEL_\d+", str(name)) for name in labels):
        return None
    return {str(name): int(number) for name, number in labels.items()}
