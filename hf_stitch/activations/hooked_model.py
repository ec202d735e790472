"""One model of a stitch, opened: with what prepares its inputs and its hook points, all checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from transformers import PreTrainedModel

from hf_stitch.activations.ctc import CtcAlphabet, alphabet
from hf_stitch.activations.text_output import TextOutput, configure_generation, generation_settings_of
from hf_stitch.errors import HookError, RecipeError
from hf_stitch.hooks.generation import generation_way
from hf_stitch.hooks.points import HookPoint, select_features
from hf_stitch.hooks.probe_inputs import make_inputs_for
from hf_stitch.hooks.trace import probe
from hf_stitch.loading.finite_weights import check_weights
from hf_stitch.loading.half_precision import widened
from hf_stitch.loading.models import load_model
from hf_stitch.loading.processors import Preparer
from hf_stitch.loading.provenance import fingerprint_of
from hf_stitch.loading.whole_class import told_class
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
        notes: what a reader of the report should know of how it runs.
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
    notes: tuple[str, ...] = ()

    @property
    def selected(self) -> HookPoint:
        """The hook point with the selected features only."""
        return replace(self.point, features=self.features)

    @property
    def tokenizer(self) -> Any:
        """Of a text model, or of a speech recogniser's CTC head; None without one."""
        return self.preparer.tokenizer

    def probe(self, module: str) -> HookPoint:
        return probe(self.model, module, make_inputs_for(self.model))


def open_hooked_model(
    side: Side, runtime: Runtime, generation: Generation | None = None, hooks: Sequence[str] = ()
) -> HookedModel:
    """Load a model and check its hook points.

    Args:
        hooks: further hook points, beside that of the side.
        generation: how the model is to write, should it be one that does; absent: its answers are not wanted.

    Raises:
        StitchError: the model cannot be loaded, the hook point does not exist, it fires twice or never, or the model
            writes, but not from there.
    """
    model = load_model(side, dtype=runtime.dtype, device=runtime.device)
    check_weights(model, side.model, "get the checkpoint again, or load it in --dtype float32")
    notes = [told_class(model.config, model, side.model) if side.class_ is None else None]
    if runtime.dtype is None and (note := widened(model, side.model)):
        notes.append(f"{note} (--dtype runs it in another)")
    preparer = Preparer.for_model(side, model)
    found = hooked_model_of(side, model, preparer, fingerprint_of(side), runtime, generation, hooks)
    return replace(found, notes=tuple(note for note in notes if note))


def hooked_model_of(
    side: Side,
    model: PreTrainedModel,
    preparer: Preparer,
    stamp: str,
    runtime: Runtime,
    generation: Generation | None = None,
    hooks: Sequence[str] = (),
) -> HookedModel:
    """A model that is there, with its hook points checked; `stamp` stands for its weights in cache keys.

    Raises:
        HookError: no such hook point, one that fires twice or never, features that it does not have, or a model that
            writes, but not from there.
    """
    make_inputs = make_inputs_for(model)
    point = probe(model, side.hook, make_inputs, output=side.output)
    wanted = side.features.model_dump() if isinstance(side.features, Every) else side.features
    try:
        features = select_features(wanted, point.width)
    except HookError as error:
        raise HookError(f"{side.model}, {side.hook}: {error}") from None
    further = tuple(probe(model, name, make_inputs) for name in hooks)
    head = None
    if type(model).__name__.endswith("ForCTC"):
        try:
            head = probe(model, "lm_head", make_inputs)
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
    if further:
        identity["further"] = [one.to_dict() for one in further]
    # Settings before the stamp: what the model writes depends on them.
    text_output = None if generation is None else _text_output(model, point, generation)
    if text_output is not None:
        identity["writes"] = {
            **text_output.to_dict(),
            **(generation_settings_of(model) if text_output.mode != "ctc" else {}),
        }
    return HookedModel(side, model, preparer, point, features, head, identity, text_output, further)


def _text_output(model: PreTrainedModel, point: HookPoint, asked: Generation) -> TextOutput | None:
    text_output = TextOutput.of(model, point)
    if text_output is None and model.can_generate():
        generation_way(model, point)  # says why not from there
    if text_output is not None and text_output.mode != "ctc":
        configure_generation(model, text_output.mode, asked.settings())
    return text_output


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
