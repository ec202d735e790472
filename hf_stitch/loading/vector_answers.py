"""Which models answer with a vector, and how it is made of their output; what answers with nothing is refused here."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from hf_stitch.errors import ActivationError, ArtifactError, RecipeError
from hf_stitch.hooks.arguments import arguments_of
from hf_stitch.hooks.masks import timestep_mask
from hf_stitch.hooks.probe_inputs import make_inputs_for
from hf_stitch.hooks.trace import COMBOS, MakeInputs, copied, quiet, run_probe
from hf_stitch.loading.model_classes import kind_name
from hf_stitch.loading.models import resolve
from hf_stitch.loading.sentence_transformers import SentenceTransformer, whole
from hf_stitch.loading.vector_head import DEFAULT, NAME, STATES, VectorHead, attach, positions_of
from hf_stitch.loading.whole_class import told_pooler
from hf_stitch.recipe.side import Side

EMBEDDINGS = (
    "text_embeds",
    "image_embeds",
    "audio_embeds",
    "embeddings",
)  # in transformers, of models with such a head
POOLER = "pooler_output"
ROWS = ("ForSequenceClassification", "ForAudioClassification", "ForImageClassification")
"""What names of classes end with whose answers are rows of logits."""


def in_head(hook: str) -> bool:
    """Whether a hook point lies in a vector head."""
    return hook == NAME or hook.startswith(f"{NAME}.")


def with_vector(
    side: Side, model: PreTrainedModel, make: MakeInputs | None = None, *, wanted: bool, own: VectorHead | None = None
) -> PreTrainedModel:
    """Give a model its vector head, in place, where it answers with a vector that is needed; else leave it as it is.

    Args:
        side: what the recipe asks of it. wanted: its answers are needed, not its activations alone.
        make: (batch, length) -> keyword arguments, for probes; as its configuration says, if absent.
        own: the head of a model in memory.

    Raises:
        ActivationError: it answers with nothing that can be compared. RecipeError: a pooling that it does not take.
        ArtifactError: a sentence-transformers folder with parts that are unknown, missing or damaged.
    """
    if not (wanted or in_head(side.hook) or side.pooling) or writes(model):
        return model
    inputs = dict((make or make_inputs_for(model))(*COMBOS[0]))
    output = None if kind_name(type(model)).endswith(ROWS) else _tried(model, inputs)
    logits = None if output is None else output.get("logits")
    if output is not None and not (isinstance(logits, Tensor) and logits.ndim == 2):
        head = _head(side, model, output, own)
        _check_mask(model, inputs, output[head.field])
        return attach(model, head)
    if side.pooling:
        raise RecipeError(
            f"pooling: {side.pooling} is for models that answer with a vector, {_named(side, model)} with a row of "
            "logits: leave it out, or give the class without a head"
        )
    return model


def writes(model: PreTrainedModel) -> bool:
    """Whether a model's answers are texts."""
    return kind_name(type(model)).endswith("ForCTC") or bool(model.can_generate())


def _head(side: Side, model: PreTrainedModel, output: Mapping[str, Any], given: VectorHead | None = None) -> VectorHead:
    """The model's own head, else what the recipe asks for, else the model's embedding, else the mean of its states."""
    saved = _saved(side) if given is None else None
    own = copy.deepcopy(given) if saved is None else saved.head()
    asked = None
    if side.pooling is not None:
        pooled = side.pooling == POOLER
        asked = VectorHead(POOLER if pooled else STATES, () if pooled else (side.pooling,), origin="the recipe")
    if own is not None and asked is not None and own.spec["pooling"] != asked.spec["pooling"]:
        raise RecipeError(f"pooling: {side.pooling}, but {side.model} has a pooling of its own ({own}): leave it out")
    head = own or asked or _default(side, model, output)
    if side.pooling == POOLER and told_pooler(model, side.model) is not None:
        raise RecipeError(f"pooling: {POOLER}: the checkpoint of {_named(side, model)} has no pooler: take another")
    if asked is not None and not isinstance(output.get(asked.field), Tensor):
        gives = ", ".join(output)
        raise RecipeError(f"pooling: {side.pooling}: {_named(side, model)} gives {gives}, and no {asked.field}")
    if not isinstance(output.get(head.field), Tensor):
        raise _refused(side, model, output)
    head.spec["width"] = _width(side, head, output[head.field])
    return head


def saved_head(side: Side, spec: Mapping[str, Any]) -> VectorHead:
    """The head of a description, with weights from where the model came, where it has any.

    Raises:
        ArtifactError: the model has another head now.
    """
    head = VectorHead.from_spec(spec)
    if next(head.parameters(), None) is None:
        return head
    saved = _saved(side)
    own = None if saved is None else saved.head()
    if own is None or own.spec | {"width": None} != head.spec | {"width": None}:
        raise ArtifactError(f"{side.model} makes its vectors in another way than when the map was fitted: fit again")
    own.spec["width"] = head.spec["width"]
    return own


def _saved(side: Side) -> SentenceTransformer | None:
    """What sentence-transformers saved of a model; None where it did not."""
    try:
        return SentenceTransformer.at(whole(resolve(side.model)), side.revision)
    except RecipeError:  # in no folder, as the stand-ins of a rehearsal
        return None


def _default(side: Side, model: PreTrainedModel, output: Mapping[str, Any]) -> VectorHead:
    given = [name for name in EMBEDDINGS if isinstance(output.get(name), Tensor) and output[name].ndim == 2]
    if len(given) == 1:
        return VectorHead(given[0], (), origin="its own head")
    # Of an encoder-decoder these are the decoder's states, which go with another text.
    if given or getattr(model.config, "is_encoder_decoder", False):
        raise _refused(side, model, output)
    if not isinstance(output.get(STATES), Tensor) and isinstance(output.get(POOLER), Tensor):
        return VectorHead(POOLER, (), origin="its own head")
    return VectorHead(origin=DEFAULT)


def _check_mask(model: PreTrainedModel, inputs: Mapping[str, Any], found: Tensor) -> None:
    """HookError where nobody knows which positions of padded inputs are real."""
    main = next(value for value in inputs.values() if isinstance(value, Tensor))
    if main.ndim == 2 and "attention_mask" in arguments_of(model):
        timestep_mask(model, torch.ones(main.shape, dtype=torch.long, device=main.device), positions_of(found))


def _tried(model: PreTrainedModel, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """The model's output on probe inputs."""
    trial = copied(model)  # some models change when they run
    with quiet(trial):
        output = run_probe(trial, inputs)
    return output if isinstance(output, Mapping) else {}


def _width(side: Side, head: VectorHead, found: Tensor) -> int:
    """k of the head's vectors (b, k); ArtifactError where its parts are of other widths than the model."""
    states = positions_of(found.cpu().float())
    try:
        with torch.no_grad():
            return int(head(states, torch.ones(states.shape[:2], dtype=torch.bool)).shape[-1])
    except RuntimeError as error:
        first = str(error).strip().splitlines()[0]
        raise ArtifactError(f"{side.model}: its parts do not fit together ({first}); copy it again") from error


def _named(side: Side, model: PreTrainedModel) -> str:
    return f"{side.model} ({type(model).__name__})"


def _refused(side: Side, model: PreTrainedModel, output: Mapping[str, Any]) -> ActivationError:
    logits = output.get("logits")
    shape = f"logits {tuple(logits.shape)}" if isinstance(logits, Tensor) else ", ".join(output) or "nothing"
    base = type(model.base_model).__name__
    bare = f"; {base} gives a vector" if base != type(model).__name__ else ""
    return ActivationError(
        f"{_named(side, model)} answers with {shape}; expected one row of logits a sample, as classifiers and "
        "regressors give, a vector, as encoders without a head do, or texts: give such a `class`" + bare
    )
