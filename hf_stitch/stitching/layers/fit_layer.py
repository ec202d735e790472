"""From two activation sets to a fitted layer: pairing, checks, landing and fill."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import torch
from pydantic import ValidationError
from torch import Tensor

from hf_stitch.activations.activation_set import ActivationSet, RowSet, output_blocks, paired
from hf_stitch.errors import ActivationError, FitError, RecipeError, nearest
from hf_stitch.recipe.explain import clauses
from hf_stitch.recipe.stitch import METHODS, Landing, Stitch
from hf_stitch.runtime.sharding import ALONE, Rows
from hf_stitch.stitching.layers.layer import Fill, StitchingLayer, layer_class


def fit_layer(
    method: str,
    source: RowSet,
    target: RowSet,
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
    if not source.same_keys(target):
        source, target = paired(source, target)
    _check_numbers("source", source)
    _check_numbers("target", target)
    # Without `full` a layer predicts the selected features alone, which is what is then filled up.
    chosen = target if fill == "predict" else target.alone()
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


def _check_numbers(side: str, rows: RowSet) -> None:
    if not len(rows):
        raise ActivationError(f"the {side} activations are empty: collect at least one sample")
    # Those that are read from disk were checked when they were collected.
    if not isinstance(rows, ActivationSet):
        return
    values = rows.values if side == "source" else rows.outputs
    bad = (~values.isfinite()).any(1)
    if bad.any():
        first = int(bad.nonzero()[0])
        raise ActivationError(
            f"{int(bad.sum())} of {len(values)} {side} rows hold NaN or infinite numbers (first: row {first}): "
            "run the model in float32, or leave these samples out"
        )


def _finish(layer: StitchingLayer, target: RowSet, chosen: RowSet, landing: Landing, fill: Fill) -> None:
    if landing == "nearest":
        # Sorted and without repeats: the same points in any order of the samples, and no more than are needed.
        points: Tensor | None = None
        for rows in output_blocks(chosen):
            found = torch.unique(rows.detach(), dim=0)
            points = found if points is None else torch.unique(torch.cat([points, found]), dim=0)
        layer.register_buffer("landing_points", points)
    if fill != "predict" and target.whole_layer:
        if target.selected is None:
            raise FitError(f"fill: {fill} needs to know which features were selected; got `full` without `selected`")
        # Persistent: from_pretrained fills no other buffers.
        device = next(iter([*layer.parameters(), *layer.buffers()])).device
        layer.register_buffer("selected", torch.tensor(target.selected, device=device))
        layer.features_out = target.output_width
        layer.fill = fill
        if fill == "reference":
            wide = torch.promote_types(target.dtype, torch.float32)
            sums = torch.stack([rows.detach().sum(0, dtype=wide) for rows in output_blocks(target)])
            layer.register_buffer("reference", (sums.sum(0) / len(target)).to(target.dtype))
    layer.landing = landing
