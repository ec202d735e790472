"""Putting the parts together: two cut models, a fitted layer, a length rule, one StitchedModel."""

from __future__ import annotations

from hf_stitch.activations.hooked_model import HookedModel
from hf_stitch.models.halves import Halves, config_of, cut_halves
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.stitching.layers.layer import StitchingLayer
from hf_stitch.stitching.lengths.length_rule import LengthRule


def cut(source: HookedModel, target: HookedModel, needs_head: bool) -> Halves:
    """Copies of both models without what a stitched model does not run; see `cut_halves`."""
    return cut_halves(source, target, needs_head, StitchedModel)


def assemble(
    recipe: Recipe, halves: Halves, layer: StitchingLayer, rule: LengthRule, fingerprint: str | None = None
) -> StitchedModel:
    """The stitched model of fitted parts; the halves are shared, not copied.

    Args:
        fingerprint: of all that was asked, comparisons included; absent: that of this recipe.
    """
    asked = {"recipe": recipe.plain(), "fingerprint": fingerprint or recipe.fingerprint()}
    config = config_of(halves, layer, rule, **asked)
    model = StitchedModel(config, halves.prefix, layer, halves.suffix, rule).eval()
    if halves.mean_vector is not None:
        model.get_buffer("mean_vector").copy_(halves.mean_vector)
    if halves.mean_activation is not None:
        model.get_buffer("mean_activation").copy_(halves.mean_activation)
    return model
