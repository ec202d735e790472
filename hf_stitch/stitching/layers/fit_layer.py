"""From two activation sets to a fitted layer: pairing, checks, landing and fill."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, get_args

import torch
from pydantic import ValidationError
from torch import Tensor

from hf_stitch.activations.activation_set import ActivationSet, paired
from hf_stitch.errors import ActivationError, FitError, RecipeError, nearest
from hf_stitch.recipe.explain import clauses
from hf_stitch.recipe.stitch import METHODS, Landing, Stitch
from hf_stitch.runtime.sharding import ALONE, Rows
from hf_stitch.stitching.layers.layer import (
    Fill,
    StitchingLayer,
    layer_class,
    outputs,
)


def fit_layer(
    method: str,
    source: ActivationSet,
    target: ActivationSet,
    *,
    landing: Landing = "none",
    fill: Fill = "predict",
    steps: int = 1,
    options: Mapping[str, Any] | None = None,
    rows: Rows = ALONE,
) -> StitchingLayer:
    """Pair two activation sets by key and fit a layer from the source's selected features to the target's layer.

    Args:
        landing: `nearest` snaps each output to the nearest target activation seen in the fit.
        fill: `predict` predicts all features of the target's layer; the others predict the selected ones and fill the
            rest: with the mean of the predicted ones of the same timestep or with 0 (the thesis's ways), or with what
            each of them is on average in the fit (`reference`).
        steps: timesteps that a row joins, one after the other.
        options: the method's own options, by the names of its class in `recipe.stitch`.
        rows: how the rows are shared out over processes, for methods that can (`shared`).

    Raises:
        RecipeError: unknown method, option, landing or fill, or a value that an option cannot have.
        ActivationError: NaN, unpaired sets.
        FitError, ManifoldError: the method cannot be fitted on these rows.
    """
    kind = layer_class(method)
    stitch = _stitch(method, landing, options or {})
    if fill not in get_args(Fill):
        raise RecipeError(f"fill: unknown value {fill!r}; {nearest(str(fill), get_args(Fill))}")
    count = max(len(source), len(target))
    if not torch.equal(source.keys, target.keys):
        source, target = paired(source, target)
    _check_numbers("source", source.values)
    _check_numbers("target", outputs(target))
    # Without `full` a layer predicts the selected features alone, which is what is then filled up.
    chosen = target if fill == "predict" else replace(target, full=None, selected=None)
    layer = kind.fit(source, chosen, stitch, *([rows] if kind.shared else []))
    _finish(layer, target, chosen, landing, fill)
    layer.steps = steps
    if count > len(source):
        layer.diagnostics.setdefault("warnings", []).append(f"{count - len(source)} of {count} rows have no partner")
    return layer


def _stitch(method: str, landing: str, options: Mapping[str, Any]) -> Stitch:
    """The options object of a method; RecipeError for what it does not take."""
    known = METHODS[method].option_names()
    for name in options:
        if name not in known:
            raise RecipeError(f"method {method} has no option {name!r}; {nearest(name, known)}")
    try:
        return METHODS[method].model_validate({"method": method, "landing": landing, **options})
    except ValidationError as error:
        raise RecipeError(clauses(error, METHODS[method])) from None


def _check_numbers(side: str, values: Tensor) -> None:
    if not len(values):
        raise ActivationError(f"the {side} activations are empty: collect at least one sample")
    bad = (~values.isfinite()).any(1)
    if bad.any():
        first = int(bad.nonzero()[0])
        raise ActivationError(
            f"{int(bad.sum())} of {len(values)} {side} rows hold NaN or infinite numbers (first: row {first}): "
            "run the model in float32, or leave these samples out"
        )


def _finish(layer: StitchingLayer, target: ActivationSet, chosen: ActivationSet, landing: Landing, fill: Fill) -> None:
    if landing == "nearest":
        # Sorted and without repeats: the same points in any order of the samples, and no more than are needed.
        points = torch.unique(outputs(chosen).detach(), dim=0)
        layer.register_buffer("landing_points", points)
    if fill != "predict" and target.full is not None:
        if target.selected is None:
            raise FitError(f"fill: {fill} needs to know which features were selected; got `full` without `selected`")
        # Persistent: from_pretrained fills no other buffers.
        layer.register_buffer("selected", torch.tensor(target.selected, device=target.values.device))
        layer.features_out = target.full.shape[1]
        layer.fill = fill
        if fill == "reference":
            layer.register_buffer("reference", target.full.detach().mean(0))
    layer.landing = landing
