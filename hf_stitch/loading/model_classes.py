"""The class of a model: by its configuration, by name, ours, and those that the user's own code has defined.

No module is ever imported by a name that a file holds: a class of the user's is found once the user has imported it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from hf_stitch.errors import RecipeError, nearest

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def class_named(name: str, module: str | None = None) -> Any:
    """The model class of that name: of transformers, ours, or one of the user's that is imported.

    Args:
        module: in which the user defined it; absent: it is not one of the user's, if transformers has the name.

    Raises:
        RecipeError: there is none.
    """
    import transformers

    found = loaded_class(name, module) if module else None
    found = found or getattr(transformers, name, None) or _our_class(name) or loaded_class(name)
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


def loaded_class(name: str, module: str | None = None) -> Any:
    """A class of the user's that is imported, that of `module` before others; None where none has the name."""
    from transformers import PreTrainedModel

    found = [kind for kind in _below(PreTrainedModel) if kind.__name__ == name and is_custom(kind)]
    same = [kind for kind in found if kind.__module__ == module]
    latest = same or found  # a notebook defines a class again and again
    return latest[-1] if latest else None


def loaded_config(model_type: str, name: str | None = None) -> Any:
    """A configuration class of the user's that is imported; None where none is of that type (and name)."""
    from transformers import PretrainedConfig

    found = [kind for kind in _below(PretrainedConfig) if kind.model_type == model_type and is_custom(kind)]
    return next((kind for kind in reversed(found) if name in (None, kind.__name__)), None)


def not_imported(name: str, module: str) -> str:
    """What is told of a class of the user's that is not there; it is never imported by the name in a file."""
    return (
        f"the stitched model is made of {name} of the Python module {module}, which transformers does not have: import "
        f"it (`from {module} import {name}`), then load the model"
    )


def _below(kind: type) -> Iterator[type[Any]]:
    below: list[type[Any]] = kind.__subclasses__()
    for one in below:
        yield one
        yield from _below(one)


def is_custom(model_class: type) -> bool:
    """Whether a class is the user's own: neither of transformers nor ours."""
    return not f"{model_class.__module__}.".startswith(("transformers.", "hf_stitch."))


def kind_name(model_class: type) -> str:
    """The name by which it is known what a class does: of the user's own classes that of what they inherit from."""
    known = [one.__name__ for one in model_class.__mro__ if not is_custom(one) and not _is_base(one)]
    return known[0] if known else model_class.__name__


def _is_base(model_class: type) -> bool:
    """Whether it stands for no model: mixins, PreTrainedModel, BertPreTrainedModel."""
    return not _makes_models(model_class) or model_class.__name__.endswith(("PreTrainedModel", "WrappedModule"))


def class_of(config: PretrainedConfig, name: str | None = None, module: str | None = None) -> Any:
    """The class called `name`, else the configuration's first architecture, else what AutoModel would take."""
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_MAPPING

    if name and module:
        return class_named(name, module)
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
        from hf_stitch.loading.objects import wrapped
        from hf_stitch.zoo.networks.registry import register

        register()
        wrapped.register()


def _model_types(plain: dict) -> Iterator[str]:
    for key, value in plain.items():
        if key == "model_type":
            yield str(value)
        elif isinstance(value, dict):
            yield from _model_types(value)


def _our_class(name: str) -> Any:
    from hf_stitch.loading.objects import wrapped
    from hf_stitch.zoo.networks import registry

    if name == "Speech2Text2ForCausalLM":
        from hf_stitch.loading.speech_to_text_2.modeling_speech_to_text_2 import Speech2Text2ForCausalLM

        return Speech2Text2ForCausalLM
    return wrapped.CLASSES.get(name) or registry.class_called(name)


def classes_of(model: Any) -> int | None:
    """How many classes a model tells apart; None of one that answers otherwise, or whose class does not say."""
    one_of = getattr(model.config, "problem_type", None) in (None, "single_label_classification")
    named = kind_name(type(model)).endswith("Classification") or model.config.problem_type is not None
    count = int(getattr(model.config, "num_labels", 0) or 0)
    return count if one_of and named and count > 1 else None


def own_labels(config: Any) -> dict[str, int] | None:
    """The class names of a model, None where it has only LABEL_0, LABEL_1, ..."""
    labels = getattr(config, "label2id", None)
    if not labels or all(re.fullmatch(r"LABEL_\d+", str(name)) for name in labels):
        return None
    return {str(name): int(number) for name, number in labels.items()}
