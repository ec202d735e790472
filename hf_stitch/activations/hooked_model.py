"""One model of a stitch, opened: with what prepares its inputs and its hook points, all checked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from hf_stitch.activations.ctc import CtcAlphabet, alphabet
from hf_stitch.activations.model_inputs import ModelInputs, told_by_side
from hf_stitch.activations.text_output import TextOutput, configure_generation, generation_settings_of
from hf_stitch.errors import HookError, RecipeError
from hf_stitch.hooks.capture import capture, observe
from hf_stitch.hooks.causality import decides, sees_later
from hf_stitch.hooks.generation import generation_way
from hf_stitch.hooks.padding import NEEDS_MASK, POSITIONS, Padding, Pass
from hf_stitch.hooks.padding_probe import GENERATED, padding_of
from hf_stitch.hooks.points import HookPoint, resolve, select_features, uncompiled
from hf_stitch.hooks.position_lengths import with_lengths
from hf_stitch.hooks.probe_inputs import make_inputs_for
from hf_stitch.hooks.suffix_plan import plan_suffix
from hf_stitch.hooks.trace import MakeInputs, ModelTrace, copied, probe
from hf_stitch.loading.finite_weights import check_weights
from hf_stitch.loading.half_precision import widened
from hf_stitch.loading.model_classes import classes_of, kind_name
from hf_stitch.loading.models import load_model
from hf_stitch.loading.models import resolve as resolve_model
from hf_stitch.loading.objects.held import NOTHING, Objects
from hf_stitch.loading.processors import Preparer
from hf_stitch.loading.provenance import fingerprint_of
from hf_stitch.loading.sentence_transformers import transformer_class
from hf_stitch.loading.vector_answers import in_head, with_vector
from hf_stitch.loading.vector_head import VectorHead, vector_head_of
from hf_stitch.loading.whole_class import told_class, told_pooler
from hf_stitch.recipe.generation import Generation
from hf_stitch.recipe.side import Every, Side
from hf_stitch.runtime.runtime import Runtime


@dataclass(frozen=True)
class HookedModel:
    """One model with its hook points.

    Attributes:
        point: the hook point of the stitch, with all features; `features` are the selected ones or None.
        further: other hook points that are collected in the same pass, as comparing layers needs.
        head: hook point of the CTC head's logits, where the model has one.
        identity: what the activations and answers depend on, for cache keys.
        text_output: how it writes, where its answers are texts and they are wanted.
        inputs: how it is fed; None: as its configuration says.
        notes: what a reader of the report should know of how it runs.
        padding: what it needs so that samples of unequal length answer together as alone.
        answers: whether its own answers are wanted; else it runs no further than its hook points.
        built: whether class and configuration build it; else whoever loads it has to give its structure.
    """

    side: Side
    model: PreTrainedModel
    preparer: Preparer
    point: HookPoint
    features: tuple[int, ...] | None
    head: HookPoint | None
    identity: dict
    text_output: TextOutput | None = None
    further: tuple[HookPoint, ...] = ()
    inputs: ModelInputs | None = None
    notes: tuple[str, ...] = ()
    padding: Padding = NEEDS_MASK
    answers: bool = True
    built: bool = True

    @property
    def make_inputs(self) -> MakeInputs:
        """(batch, length) -> keyword arguments, for probes."""
        return make_inputs_for(self.model) if self.inputs is None else self.inputs.make

    @property
    def own_inputs(self) -> bool:
        """Whether these are made by a function of the user's."""
        return self.inputs is not None and self.inputs.own

    @property
    def selected(self) -> HookPoint:
        """The hook point with the selected features only."""
        return replace(self.point, features=self.features)

    @property
    def tokenizer(self) -> Any:
        """Of a text model, or of a speech recogniser's CTC head; None without one."""
        return self.preparer.tokenizer

    @property
    def vector_head(self) -> VectorHead | None:
        """What makes the vector with which the model answers; None where it answers otherwise, or is not asked."""
        return vector_head_of(self.model)

    def probe(self, module: str) -> HookPoint:
        return probe(self.model, module, self.make_inputs)

    def passes(self, raws: Sequence[Any]) -> list[Pass]:
        """The forward passes, on the model's device, in which raw inputs are run so that each answers as alone."""
        inputs = {name: value.to(self.model.device) for name, value in self.preparer.batch(raws).items()}
        return self.padding.passes(self.model, inputs)

    def seen(self, role: str, inputs: Mapping[str, Tensor]) -> tuple[list[Tensor], Any]:
        """Activations at all hook points (the CTC head's of a source too), and the model's own answer, if wanted."""
        head = [self.head] if role == "source" and self.head else []
        points = [self.point, *head, *self.further]
        if not self.answers:
            return capture(self.model, points, inputs), None
        if self.text_output is not None:
            return capture(self.model, points, inputs), self.text_output.own(self.model, inputs)
        decodes = getattr(self.model.config, "is_encoder_decoder", False)
        if role == "source" and decodes and self.vector_head is None:
            return capture(self.model, points, inputs), None
        return observe(self.model, points, inputs)


def open_hooked_model(
    side: Side,
    runtime: Runtime,
    generation: Generation | None = None,
    hooks: Sequence[str] = (),
    make_inputs: MakeInputs | None = None,
    objects: Objects | None = None,
) -> HookedModel:
    """Load a model and check its hook points.

    Args:
        hooks: further hook points, beside that of the side.
        make_inputs: (batch, length) -> keyword arguments, for a model that cannot be probed on what is known of it.
        generation: how the model is to write, should it be one that does; absent: its answers are not wanted.
        objects: models in memory, by their names.

    Raises:
        StitchError: the model cannot be loaded, the hook point does not exist, it fires twice or never, or the model
            writes, but not from there.
    """
    given = (objects or NOTHING).models.get(side.model)
    if given is not None:
        model, told = given.opened(runtime.dtype, runtime.device), list(given.notes)
    else:
        model, told = load_model(side, dtype=runtime.dtype, device=runtime.device), []
    check_weights(model, side.model, "get the checkpoint again, or load it in --dtype float32")
    notes: list[str | None] = [*told, None if given is not None else _told_class(side, model)]
    notes.append(told_pooler(model, side.model))
    if runtime.dtype is None and (note := widened(model, side.model)):
        notes.append(f"{note} (--dtype runs it in another)")
    if given is not None:
        preparer, stamp, head = given.preparer(model), given.stamp, given.head
    else:
        preparer, stamp, head = Preparer.for_model(side, model), fingerprint_of(side), None
    found = hooked_model_of(side, model, preparer, stamp, runtime, generation, hooks, make_inputs, head)
    return replace(found, notes=tuple(note for note in notes if note), built=given is None or given.built)


def _told_class(side: Side, model: PreTrainedModel) -> str | None:
    """What is told of a model of another class than its configuration says, where nobody asked for one."""
    if side.class_ is not None or transformer_class(resolve_model(side.model), model.config, side.revision) is not None:
        return None
    return told_class(model.config, model, side.model)


def hooked_model_of(
    side: Side,
    model: PreTrainedModel,
    preparer: Preparer,
    stamp: str,
    runtime: Runtime,
    generation: Generation | None = None,
    hooks: Sequence[str] = (),
    make_inputs: MakeInputs | None = None,
    vector_head: VectorHead | None = None,
) -> HookedModel:
    """A model that is there, with its hook points checked; `stamp` stands for its weights in cache keys.

    Args:
        make_inputs: as `open_hooked_model`. vector_head: of a model in memory that has its own.

    Raises:
        HookError: no such hook point, one that fires twice or never, features that it does not have, or a model that
            writes, but not from there. RecipeError: inputs that the model does not take.
    """
    if not in_head(side.hook):
        resolve(uncompiled(model), side.hook)  # before anything runs
    with told_by_side(side, own=make_inputs is not None):
        inputs = ModelInputs.of(side, model, preparer.sizes(), make_inputs)
        model = with_vector(side, model, inputs.make, wanted=generation is not None, own=vector_head)
        trace = ModelTrace(copied(model), inputs.make)
        started = inputs.started(model, side.hook, trace)
        if started is not inputs:
            inputs, trace = started, ModelTrace(copied(model), started.make)
        fixed = inputs.fixed(model, side)
    preparer = replace(preparer, classes=classes_of(model), fixed=fixed)
    point = trace.point(side.hook, side.output)
    inputs.check_real(trace, point, side)
    point = with_lengths(trace, point, model)
    wanted = side.features.model_dump() if isinstance(side.features, Every) else side.features
    try:
        features = select_features(wanted, point.width)
    except HookError as error:
        raise HookError(f"{side.model}, {side.hook}: {error}") from None
    further = tuple(with_lengths(trace, _point(trace, model, name), model) for name in hooks)
    head = None
    if kind_name(type(model)).endswith("ForCTC"):
        try:
            head = _point(trace, model, "lm_head")
        except HookError:
            head = None  # a CTC model with another head: `length: ctc` is then refused by name
    identity: dict[str, Any] = {
        "model": stamp,
        "class": type(model).__name__,
        "point": point.to_dict(),
        "dtype": str(model.dtype),
        # CPU and GPU round differently, so their activations are kept apart; which GPU it was does not matter.
        "device": runtime.device.type,
    }
    if fixed is not None:
        identity["inputs"] = fixed.to_dict()
    if further:
        identity["further"] = [one.to_dict() for one in further]
    if (vector := vector_head_of(model)) is not None:
        identity["vector"] = vector.spec
    # Settings before the stamp: what the model writes depends on them.
    text_output = None if generation is None else _text_output(model, point, generation, preparer.tokenizer)
    if text_output is not None and text_output.mode == "middle":
        check_causal(model, point, side, inputs.make)
    if text_output is not None:
        identity["writes"] = {
            **text_output.to_dict(),
            **(generation_settings_of(model) if text_output.mode != "ctc" else {}),
        }
    if generation is None:
        identity["answers"] = False
    padding = _padding(model, preparer, [point, *([head] if head else []), *further], text_output, inputs)
    if padding.on(preparer.padding_side) != "mask":
        identity["padding"] = padding.to_dict()
    own = (side, model, preparer, point, features, head, identity, text_output, further, inputs)
    return HookedModel(*own, padding=padding, answers=generation is not None)


def _padding(
    model: PreTrainedModel,
    preparer: Preparer,
    points: Sequence[HookPoint],
    text_output: TextOutput | None,
    fed: ModelInputs,
) -> Padding:
    """What a model needs to be run on padded batches, to its hook points and to its own answer."""
    mode = None if text_output is None else text_output.mode

    def run(own: nn.Module, inputs: Mapping[str, Any]) -> list[Tensor]:
        if mode in ("encoder", "prompt"):
            return [*capture(own, points, inputs), *(_first_logits(own, inputs) if mode == "encoder" else [])]
        found, output = observe(own, points, inputs)
        logits = getattr(output, "logits", getattr(output, "embeddings", None))
        # One row a sample, or those of a CTC head or of a causal model: others are not read.
        if isinstance(logits, Tensor) and (logits.ndim == 2 or mode in ("ctc", "middle")):
            return [*found, logits]
        return found

    asked = fed.make if fed.own else json.dumps(fed.to_dict(model, preparer.fixed), sort_keys=True)
    given: dict[str, Any] = {"make": fed.make, "pad": preparer.padding_token, "asked": asked}
    head = vector_head_of(model)
    kind = f"answer {mode}" if head is None else f"vector {json.dumps(head.spec)}"
    found = padding_of(model, points, run, kind=kind, **given)
    if mode != "prompt":
        return found
    # Generation continues the last position: its prompts are padded before.
    writing = padding_of(model, points, _first_logits, kind="generation", **given)
    return replace(found, generate=writing.left, why=found.why or writing.why).for_generation()


def _first_logits(model: Any, inputs: Mapping[str, Any]) -> list[Tensor]:
    given = {key: value for key, value in inputs.items() if key != POSITIONS}  # generation counts them itself
    return [model.generate(**given, **GENERATED).logits[0]]


def _point(trace: ModelTrace, model: PreTrainedModel, name: str) -> HookPoint:
    resolve(uncompiled(model), name)
    return trace.point(name)


def _text_output(model: PreTrainedModel, point: HookPoint, asked: Generation, tokenizer: Any) -> TextOutput | None:
    text_output = TextOutput.of(model, point)
    if text_output is None and model.can_generate():
        generation_way(model, point)  # says why not from there
    if text_output is not None and text_output.mode == "middle":
        text_output = replace(text_output, special=special_tokens(tokenizer))
    if text_output is not None and text_output.mode != "ctc":
        configure_generation(model, text_output.mode, asked.settings())
    return text_output


def check_causal(model: PreTrainedModel, point: HookPoint, side: Side, make: MakeInputs) -> None:
    """HookError of a target whose positions see the tokens that they foretell, or that cannot be started there."""
    if not decides(copied(model), point, make):
        plan_suffix(model, point, make)  # says why
    if sees_later(copied(model), point, make):
        raise HookError(
            f"{side.model} at {point.module}: {type(model).__name__} sees later tokens, so that it foretells no next "
            "ones; expected a causal language model (of the BERT family one with is_decoder: true in its config.json)"
        )


def special_tokens(tokenizer: Any) -> tuple[int, ...]:
    """Ids of the tokens that frame or fill texts: not that of unknown words, which stands for words."""
    names = ("bos", "eos", "pad", "cls", "sep", "mask")
    known = [getattr(tokenizer, f"{name}_token_id", None) for name in names]
    return tuple(sorted({int(token) for token in known if token is not None}))


def saying(source: HookedModel) -> HookedModel | None:
    """The same model, whose own next tokens are wanted too; None of one without a causal language model head."""
    model, fed = source.model, source.inputs
    generates = callable(getattr(model, "can_generate", None)) and model.can_generate()
    if not generates or getattr(model.config, "is_encoder_decoder", False) or fed is None:
        return None
    if sees_later(copied(model), source.point, source.make_inputs) is not False:
        return None
    text_output = TextOutput("middle", (), special_tokens(source.tokenizer))
    points = [source.point, *([source.head] if source.head else []), *source.further]
    padding = _padding(model, source.preparer, points, text_output, fed)
    identity = {**source.identity, "answers": True, "writes": text_output.to_dict(), "padding": padding.to_dict()}
    return replace(source, text_output=text_output, padding=padding, identity=identity, answers=True)


def alphabet_of(source: HookedModel) -> CtcAlphabet:
    """The CTC head's classes by the source's own tokenizer.

    Raises:
        RecipeError: the source has no CTC head or no tokenizer for it.
    """
    tokenizer = source.tokenizer
    if source.head is None or tokenizer is None:
        raise RecipeError(
            f"sequence.length: ctc needs a source with a CTC head and its tokenizer; got {source.side.model}"
        )
    return alphabet(tokenizer)
