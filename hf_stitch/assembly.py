"""Putting the parts together: two cut models, a fitted layer, a length rule, one StitchedModel."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel

from hf_stitch.ends import End
from hf_stitch.errors import HookError
from hf_stitch.hooks import (
    HookPoint,
    apply_prefix_plan,
    apply_suffix_plan,
    make_inputs_for,
    plan_prefix,
    plan_prompt,
    plan_suffix,
)
from hf_stitch.models.configuration_stitched import StitchedConfig
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.models.operations import multiply_adds, whole_multiply_adds
from hf_stitch.origin import commit_of
from hf_stitch.recipe import Recipe
from hf_stitch.sequences.rule import LengthRule
from hf_stitch.stitching.layer import StitchingLayer
from hf_stitch.writing import settings_of


@dataclass(frozen=True)
class Halves:
    """The two cut models and their plain descriptions; shared by all variants with the same ends."""

    prefix: PreTrainedModel
    suffix: PreTrainedModel
    prefix_config: dict[str, Any]
    suffix_config: dict[str, Any]


def cut(source: End, target: End, needs_head: bool) -> Halves:
    """Copies of both models without what a stitched model does not run.

    Args:
        needs_head: the length rule needs the source's CTC head, which then stays, with all blocks below it.
    """
    points = [source.selected, *([source.head] if needs_head and source.head else [])]
    prefix_plan = plan_prefix(source.model, points, make_inputs_for(source.model))
    suffix_plan = plan_prompt(target.model, target.point)
    if suffix_plan is None:
        suffix_plan = plan_suffix(target.model, target.point, make_inputs_for(target.model))
    prefix, suffix = copy.deepcopy(source.model), copy.deepcopy(target.model)
    apply_prefix_plan(prefix, prefix_plan)
    apply_suffix_plan(suffix, suffix_plan)
    prefix_config = _described(source, source.selected, prefix_plan)
    if needs_head and source.head:
        prefix_config["ctc_head"] = source.head.to_dict()
    suffix_config = _described(target, target.point, suffix_plan)
    if suffix.can_generate():
        suffix_config["generation"] = settings_of(suffix)
        if _vocabulary(source) == _vocabulary(target) != {}:
            suffix_config["shares_tokens"] = True
    if target.writer is not None:
        suffix_config["writes"] = target.writer.to_dict()
    return Halves(prefix, suffix, prefix_config, suffix_config)


def _vocabulary(end: End) -> dict[str, int]:
    """The tokens of a text model with their numbers."""
    tokenizer = getattr(end.preparer, "tokenizer", None)
    return tokenizer.get_vocab() if tokenizer is not None else {}


def _described(end: End, point: HookPoint, plan: dict[str, Any]) -> dict[str, Any]:
    return {
        "class": type(end.model).__name__,
        "model": end.side.model,
        "revision": commit_of(end.side) or end.side.revision,
        "point": point.to_dict(),
        "plan": plan,
    }


def assemble(recipe: Recipe, halves: Halves, layer: StitchingLayer, rule: LengthRule) -> StitchedModel:
    """The stitched model of fitted parts; the halves are shared, not copied."""
    config = StitchedConfig(
        source=halves.prefix.config,
        target=halves.suffix.config,
        prefix=halves.prefix_config,
        suffix=halves.suffix_config,
        layer=layer.spec,
        sequence=rule.spec(),
        recipe=recipe.plain(),
        fingerprint=recipe.fingerprint(),
    )
    return StitchedModel(config, halves.prefix, layer, halves.suffix, rule).eval()


def count_parameters(model: StitchedModel, source: End, target: End) -> dict[str, int]:
    """Numbers held by each part (parameters and buffers), beside those of the two whole models.

    `total` is what an answer needs: prefix, layer and suffix. The trust gauge stands beside it.
    """

    def numbers(module: Any) -> int:
        return sum(t.numel() for t in module.parameters()) + sum(t.numel() for t in module.buffers())

    parts = {
        "prefix": numbers(model.prefix),
        "layer": numbers(model.layer) + numbers(model.rule),
        "suffix": numbers(model.suffix),
    }
    return {
        **parts,
        "total": sum(parts.values()),
        "trust": 0 if model.trust is None else numbers(model.trust),
        "layer_parameters": sum(p.numel() for p in model.layer.parameters()),
        "source_whole": numbers(source.model),
        "target_whole": numbers(target.model),
    }


def count_operations(model: StitchedModel, source: End, target: End) -> dict[str, int]:
    """Multiply-adds of each part and their total, beside those of the two whole models at the same lengths.

    Empty for a suffix that does not run on activations alone.
    """
    try:
        found = multiply_adds(model)
    except HookError:
        return {}
    return {
        **found,
        "source_whole": whole_multiply_adds(source.model, found["source_positions"]),
        "target_whole": whole_multiply_adds(target.model, found["target_positions"]),
    }


def cost_of(model: StitchedModel, source: End, target: End) -> dict[str, Any]:
    """What the report says about size: parameters, and multiply-adds of one input."""
    return {**count_parameters(model, source, target), "multiply_adds": count_operations(model, source, target)}
