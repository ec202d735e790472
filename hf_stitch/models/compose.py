"""A stitched model of two models and a map that is there: nothing is fitted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from hf_stitch.activations.hooked_model import HookedModel, hooked_model_of, open_hooked_model
from hf_stitch.errors import HookError, RecipeError, StitchError, nearest
from hf_stitch.hooks.points import like
from hf_stitch.hooks.trace import MakeInputs
from hf_stitch.loading.modality import modality
from hf_stitch.loading.models import load_model, resolve
from hf_stitch.loading.objects.given_model import GivenModel
from hf_stitch.loading.objects.held import Objects
from hf_stitch.loading.objects.tools import tools_of
from hf_stitch.loading.processors import Preparer, load_tools
from hf_stitch.loading.quiet import quiet
from hf_stitch.models.companions import Companions
from hf_stitch.models.halves import config_of, cut_halves
from hf_stitch.recipe.explain import clauses
from hf_stitch.recipe.generation import Generation
from hf_stitch.recipe.names import MEMORY
from hf_stitch.recipe.sequence import Lengths
from hf_stitch.recipe.side import Role, Side
from hf_stitch.runtime.runtime import Runtime
from hf_stitch.stitching.layers.module import layer_between
from hf_stitch.stitching.lengths.length_rule import LengthRule
from hf_stitch.stitching.lengths.rule import learned_by_all, rule_class

Opening = Callable[[Generation | None], HookedModel]
"""Opens a model, which is to write as asked; None: its answers are not wanted as texts."""
LEARNED = {"ratio": 1.0, "constant": None}
"""What a fit would learn of lengths, which is given here: target timesteps a source timestep, or how many there are."""


def composed(
    model_class: Any,
    source: Any,
    source_hook: str,
    target: Any,
    target_hook: str,
    layer: Any,
    processors: tuple[Any, Any],
    sequence: Mapping[str, Any] | None,
    make_inputs: Mapping[Role, MakeInputs],
) -> Any:
    """See `StitchedModel.compose`, whose class is `model_class`."""
    asked, learned = _lengths(sequence or {})
    s = _opened("source", source, source_hook, processors[0], make_inputs.get("source"))
    t = _opened("target", target, target_hook, processors[1], make_inputs.get("target"))
    rule = _rule(asked, learned, t)
    widths = len(s.features or range(s.point.width)), t.point.width
    ends = f"{source_hook} has {widths[0]} features, {target_hook} has {widths[1]}"
    if rule.join > 1 or rule.steps > 1:
        ends += f", of which {rule.join} and {rule.steps} stand in a row"
    made = layer_between(layer, widths[0] * rule.join, widths[1] * rule.steps, ends)
    made.steps = rule.steps
    trained = {name for name, one in made.named_parameters() if one.requires_grad}
    with quiet():
        halves = cut_halves(s, t, False, model_class)
    model: Any = model_class(config_of(halves, made, rule), halves.prefix, made, halves.suffix, rule).eval()
    model.companions = Companions.of(model, s, t)
    model = model.to(like(halves.prefix).device)
    for name, one in made.named_parameters():
        one.requires_grad_(name in trained)
    return model


def _opened(role: Role, given: Any, hook: str, processor: Any, make: MakeInputs | None) -> HookedModel:
    """A copy of a model that is there, or one that is loaded by its name, with its hook point."""
    named = isinstance(given, str | Path)
    opened = (_named if named else _held)(role, given, hook, processor, make)
    if role == "source":
        return opened(None)
    try:
        return opened(Generation())
    except HookError:  # a model that writes, but not from there: what it then answers is its logits
        return opened(None)


def _named(role: Role, given: Any, hook: str, processor: Any, make: MakeInputs | None) -> Opening:
    side = Side(model=str(given), hook=hook)
    model = load_model(side, device="cpu")
    kind = modality(model)
    tool, speller = None, None
    if processor is not None:
        tool, speller = tools_of(model, processor, f"{role}_processor", str(given))
    elif kind != "vector":
        with suppress(StitchError):
            tool, speller = load_tools(kind, resolve(side.model), None)
    preparer = Preparer.with_tools(model, tool, speller)
    runtime = Runtime.start("cpu")
    return lambda generation: hooked_model_of(side, model, preparer, "", runtime, generation, (), make)


def _held(role: Role, given: Any, hook: str, processor: Any, make: MakeInputs | None) -> Opening:
    held = GivenModel.of(given, role, processor, make=make, needs_processor=False)
    name = f"{MEMORY}{held.name}"
    place = next((one.device for one in held.held.parameters()), torch.device("cpu"))
    side, runtime = Side(model=name, hook=held.hook(hook)), Runtime.start(str(place))
    objects = Objects({name: held})
    return lambda generation: open_hooked_model(side, runtime, generation, (), make, objects)


def _lengths(sequence: Mapping[str, Any]) -> tuple[Lengths, dict[str, Any]]:
    """A length rule of which nothing has to be learned, and what a fit would have learned of lengths.

    Raises:
        RecipeError: unknown keys or values, or a rule that learns from samples.
    """
    learned = {key: sequence[key] for key in LEARNED if key in sequence}
    try:
        asked = Lengths.model_validate({key: value for key, value in sequence.items() if key not in LEARNED})
    except ValidationError as error:
        unknown = [str(one["loc"][0]) for one in error.errors() if one["type"] == "extra_forbidden"]
        if unknown:
            known = [*Lengths.model_fields, *LEARNED]
            raise RecipeError(f"sequence: unknown key {unknown[0]!r}; {nearest(unknown[0], known)}") from None
        raise RecipeError(f"sequence: {clauses(error, Lengths)}") from None
    length, where = asked.length, asked.default_length()
    if asked.facts.needs_target_texts or where == "predicted":
        what = f"target_length: {where}" if where == "predicted" else f"length: {length}"
        raise RecipeError(
            f"sequence.{what} is learned from samples, which compose has not: fit it, or take trim, resample or pool"
        )
    for key, value in learned.items():
        number = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
        if not number or (key == "constant" and value != int(value)):
            raise RecipeError(
                f"sequence.{key}: expected a {'whole ' * (key == 'constant')}number above 0; got {value!r}"
            )
        if where != key:
            raise RecipeError(f"sequence.{key}: needs target_length: {key}; got {where}")
    if where == "constant" and "constant" not in learned:
        raise RecipeError("sequence.target_length: constant needs `constant`, how many timesteps there are")
    return asked, learned


def _rule(asked: Lengths, learned: Mapping[str, Any], target: HookedModel) -> LengthRule:
    state = rule_class(asked.length).State
    own = {one.name for one in fields(state)}
    options = {key: getattr(asked, key) for key in ("slice", "slicing", "parts") if key in own}
    found = {key: learned.get(key, default) for key, default in LEARNED.items() if key in own}
    known = {key: value for key, value in found.items() if value is not None}
    return LengthRule(state(**learned_by_all(asked, target), **options, **known))
