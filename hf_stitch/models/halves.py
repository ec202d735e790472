"""Two models cut at their hook points: the halves of which a stitched model is made, with their plain descriptions."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from hf_stitch.activations.hooked_model import HookedModel
from hf_stitch.activations.model_inputs import told_by_side
from hf_stitch.activations.text_output import generation_settings_of
from hf_stitch.errors import HookError
from hf_stitch.hooks.generation import plan_prompt
from hf_stitch.hooks.padding_probe import padding_of, padding_of_suffix
from hf_stitch.hooks.points import HookPoint
from hf_stitch.hooks.prefix import apply_prefix_plan, plan_prefix, weaker_prefix_plans
from hf_stitch.hooks.suffix import apply_suffix_plan, weaker_suffix_plans
from hf_stitch.hooks.suffix_plan import plan_suffix
from hf_stitch.loading.model_classes import is_custom, kind_name
from hf_stitch.loading.objects.stamp import build_of
from hf_stitch.loading.provenance import commit_of
from hf_stitch.models.as_loaded import trouble_as_loaded
from hf_stitch.models.configuration_stitched import FORMAT, IN_THE_MIDDLE, WITH_VECTOR, StitchedConfig
from hf_stitch.models.tasks import says_classes
from hf_stitch.stitching.layers.layer import StitchingLayer
from hf_stitch.stitching.lengths.length_rule import LengthRule


@dataclass(frozen=True)
class Halves:
    """The two cut models and their plain descriptions; shared by all variants between the same hook points.

    Attributes:
        mean_vector: (k,) of the target's own answers in the fit, where they are vectors.
        mean_activation: (m,) of the target in the fit, where it is a causal model hooked in the middle.
    """

    prefix: PreTrainedModel
    suffix: PreTrainedModel
    prefix_config: dict[str, Any]
    suffix_config: dict[str, Any]
    mean_vector: Tensor | None = None
    mean_activation: Tensor | None = None


def config_of(halves: Halves, layer: StitchingLayer, rule: LengthRule, **more: Any) -> StitchedConfig:
    """The configuration of a stitched model of these parts; `more` of it, such as the recipe."""
    return StitchedConfig(
        source=halves.prefix.config,
        target=halves.suffix.config,
        prefix=halves.prefix_config,
        suffix=halves.suffix_config,
        layer=layer.spec,
        sequence=rule.spec(),
        stitch_format=_format_of(halves),
        **more,
    )


def _format_of(halves: Halves) -> int:
    """The oldest format that holds what a stitched model of these halves needs."""
    if "vector" in halves.prefix_config | halves.suffix_config:
        return WITH_VECTOR
    return IN_THE_MIDDLE if "cache" in halves.suffix_config else FORMAT


def cut_halves(source: HookedModel, target: HookedModel, needs_head: bool, model_class: Any) -> Halves:
    """Copies of both models without what a stitched model does not run.

    Args:
        needs_head: the length rule needs the source's CTC head, which then stays, with all blocks below it.
        model_class: `StitchedModel`, as which the halves are tried; its module reads this one.

    Raises:
        HookError: a model that cannot be cut there.
    """
    points = [source.selected, *([source.head] if needs_head and source.head else [])]
    with told_by_side(source.side, source.own_inputs):
        before = plan_prefix(source.model, points, source.make_inputs)
    with told_by_side(target.side, target.own_inputs):
        # First as a prompt: a causal model hooked at its embedding keeps all layers, and can then generate.
        behind = plan_prompt(target.model, target.point, target.make_inputs)
        if behind is None:
            behind = plan_suffix(target.model, target.point, target.make_inputs)
    plans = {
        "prefix": [before, *weaker_prefix_plans(before, source.model)],
        "suffix": [behind, *weaker_suffix_plans(behind)],
    }
    while True:
        halves = _cut(source, target, needs_head, {name: tried[0] for name, tried in plans.items()})
        trouble = trouble_as_loaded(halves, source, target, model_class)
        if not trouble:
            return _with_padding(halves, source, points)
        for name, told in trouble.items():
            if len(plans[name]) == 1:
                end = source if name == "prefix" else target
                raise HookError(
                    f"{type(end.model).__name__} cannot be cut at {end.point.module}: {told}; hook another block"
                )
            plans[name].pop(0)


def _with_padding(halves: Halves, source: HookedModel, points: list[HookPoint]) -> Halves:
    """The halves with what each needs so that samples of unequal length answer together as alone."""
    prefix, suffix, before, behind = halves.prefix, halves.suffix, halves.prefix_config, halves.suffix_config
    pad = getattr(source.preparer, "padding_token", None)
    asked = source.make_inputs if source.own_inputs else json.dumps(before.get("inputs", {}), sort_keys=True)
    before["padding"] = padding_of(prefix, points, make=source.make_inputs, pad=pad, asked=asked).to_dict()
    behind["padding"] = padding_of_suffix(suffix, behind["plan"], suffix.can_generate()).to_dict()
    return halves


def _cut(source: HookedModel, target: HookedModel, needs_head: bool, plans: dict[str, Any]) -> Halves:
    """The two models cut by their plans."""
    # Copies: references and further variants still need the whole models.
    prefix, suffix = copy.deepcopy(source.model), copy.deepcopy(target.model)
    apply_prefix_plan(prefix, plans["prefix"])
    apply_suffix_plan(suffix, plans["suffix"])
    prefix_config = _described(source, source.selected, plans["prefix"])
    fed = {} if source.inputs is None else source.inputs.to_dict(source.model, source.preparer.fixed)
    if fed:
        prefix_config["inputs"] = fed
    if needs_head and source.head:
        prefix_config["ctc_head"] = source.head.to_dict()
    suffix_config = _described(target, target.point, plans["suffix"])
    if suffix.can_generate():
        suffix_config["generation"] = generation_settings_of(suffix)
        if _vocabulary(source) == _vocabulary(target) != {}:
            suffix_config["shares_tokens"] = True
    if target.text_output is not None:
        suffix_config["writes"] = target.text_output.to_dict()
        if target.text_output.mode == "middle":
            suffix_config["cache"] = "none"  # of generation: nothing is kept from step to step
    return Halves(prefix, suffix, prefix_config, suffix_config)


def _vocabulary(end: HookedModel) -> dict[str, int]:
    """The tokens of a text model with their numbers."""
    tokenizer = getattr(end.preparer, "tokenizer", None)
    return tokenizer.get_vocab() if tokenizer is not None else {}


def _described(end: HookedModel, point: HookPoint, plan: dict[str, Any]) -> dict[str, Any]:
    more: dict[str, Any] = {} if end.vector_head is None else {"vector": end.vector_head.spec}
    return (
        more
        | _foreign(end)
        | {
            "class": type(end.model).__name__,
            "model": end.side.model,
            # The commit rather than the branch that was asked for, which will move on.
            "revision": commit_of(end.side) or end.side.revision,
            "point": point.to_dict(),
            "plan": plan,
        }
    )


def _foreign(end: HookedModel) -> dict[str, Any]:
    """What is to be known of a model whose class, configuration or structure transformers alone cannot give."""
    kind, config, found = type(end.model), type(end.model.config), dict[str, Any]()
    if is_custom(kind):
        found["module"] = kind.__module__
        if kind_name(kind) != kind.__name__:
            found["kind"] = kind_name(kind)
    if is_custom(config):
        found |= {"config": config.__name__, "config_module": config.__module__}
    if says_classes(end.model):
        found["answers"] = "labels"
    return found if end.built else {**found, "built": False, "build": build_of(end.model)}
