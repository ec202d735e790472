"""The class that a checkpoint has all weights of, where config.json says another one, or none.

Many published checkpoints were saved from a model without its head, or with another, and keep the older name.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hf_stitch.loading.model_classes import class_of

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

TRAINING_ONLY = ("masked_spec_embed",)
"""Last parts of weight names that only training uses: many published speech checkpoints lack them."""
# Of classes with the same weights the more usual one; by hand.
USUAL = ("SequenceClassification", "AudioClassification", "ImageClassification", "MaskedLM", "CTC", "CausalLM")


def missing_weights(info: Mapping[str, Any]) -> list[str]:
    """Weights that loading, by its `info`, did not find and that are used."""
    return sorted(key for key in info["missing_keys"] if not key.endswith(TRAINING_ONLY))


def whole_class(config: PretrainedConfig, place: str, **where: Any) -> Any:
    """The class of the configuration's family that uses most of the checkpoint and lacks nothing; None without one.

    Where none is whole, the one without a head that lacks its pooler alone, see `without_pooler`.

    Args:
        place: folder or Hub id. where: further arguments of `from_pretrained`. No weight is read.
    """
    from transformers.models.auto.modeling_auto import MODEL_MAPPING

    found: list[tuple[Any, ...]] = []
    base = MODEL_MAPPING.get(type(config), ())
    bases = base if isinstance(base, tuple) else (base,)
    for one in _family(config, bases):
        try:
            _, info = one.from_pretrained(place, config=config, device_map="meta", output_loading_info=True, **where)
        except Exception:  # other shapes, or whatever its constructor refuses: not that class
            continue
        lacking, whole = missing_weights(info), one in bases
        if not info["mismatched_keys"] and (not lacking or (whole and lacks_pooler_alone(lacking))):
            found.append((bool(lacking), len(info["unexpected_keys"]), not whole, _rank(one), one.__name__, one))
    return min(found)[-1] if found else None


def without_pooler(model: PreTrainedModel, missing: Iterable[str]) -> None:
    """Make zero, in place, the weights of a pooler that the checkpoint has not: its output is then zero, not random."""
    for name in missing:
        model.get_parameter(name).data.zero_()


def lacks_pooler_alone(missing: Iterable[str]) -> bool:
    """Whether what is missing is what BERT and its like compute beside their states of all tokens, and nothing else.

    The states are the answer of a model without a head.
    """
    return all(weight.startswith("pooler.") for weight in missing)


def told_pooler(model: PreTrainedModel, name: str) -> str | None:
    """What is told of a model whose pooler is zero; None of others."""
    weights = list(pooler.parameters()) if (pooler := getattr(model, "pooler", None)) is not None else []
    if not weights or any(bool(weight.any()) for weight in weights):
        return None
    return f"{name}: the checkpoint has no weights of the pooler, whose output is zero"


def told_class(config: PretrainedConfig, model: PreTrainedModel, name: str) -> str | None:
    """What is told of a model that is not of the class that its config.json says; None of one that is."""
    said, own = (config.architectures or [None])[0], type(model).__name__
    if said is None and class_of(config).__name__ == own:
        return None
    if said == own:
        return None
    says = "names no class" if said is None else f"says {said}, of which the checkpoint has not all weights"
    if said is not None and class_of(config).__name__ != said:
        says = f"says {said}, which transformers does not have"
    return f"{name}: its config.json {says}; it runs as {own} (set `class` for another)"


def _family(config: PretrainedConfig, bases: Iterable[Any]) -> Iterator[Any]:
    """The classes of models that take such a configuration and stand beside those without a head."""
    from transformers import PreTrainedModel

    for module in {sys.modules[base.__module__] for base in bases}:
        for name, found in vars(module).items():
            own = isinstance(found, type) and issubclass(found, PreTrainedModel) and name == found.__name__
            if own and "PreTrained" not in name and found.config_class is type(config):
                yield found


def _rank(model_class: Any) -> int:
    ends = [i for i, end in enumerate(USUAL) if model_class.__name__.endswith(end)]
    return min(ends, default=len(USUAL))
