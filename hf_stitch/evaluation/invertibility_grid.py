"""Where the networks and the fitted map are one to one, over the box of their inputs; for inputs of 1 or 2 numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hf_stitch.activations.hooked_model import HookedModel
from hf_stitch.activations.observations import Observations
from hf_stitch.evaluation.answer_kinds.base import Scope
from hf_stitch.evaluation.invertibility_samples import invertibility_at_samples
from hf_stitch.evaluation.statistics.intervals import Interval
from hf_stitch.geometry.invertibility.jacobians import GRID, Box, along, condition, jacobians, orientation, singular
from hf_stitch.hooks.capture import capture
from hf_stitch.models.fitted import Fitted
from hf_stitch.recipe.side import SIDES
from hf_stitch.report.measure import Measure

STEPS = "The map goes in steps, or by operations of which there is no forward derivative: it has no condition numbers."
NAMES = ("condition_median", "condition_95", "condition_max", "singular_share")


def invertibility_over_grid(fitted: Fitted) -> tuple[list[Measure], dict[str, Any]]:
    """Condition numbers of the map, and drawings of them and of both networks'.

    Returns:
        Measures on `domain`, the box of the fit's inputs, and `domain/wider`, twice as wide in every direction; and
        `{"jacobian": {"source" | "map" | "target": {axes, low, high, condition, singular, inside, wider}}}`, or
        `{"jacobian": {"absent": why}}`. Where inputs are not of 1 or 2 numbers, what `invertibility_at_samples` gives.
    """
    observations = fitted.observations
    ends = (observations.source, observations.target)
    boxes = [_box(observations, side) for side in (0, 1)]
    if boxes[0] is None:
        measures, drawings = invertibility_at_samples(fitted)
        return measures, {"jacobian": drawings}
    with observations.timings.stage("evaluate.jacobian"):
        parts: dict[str, Any] = {}
        for name, end, box in zip(SIDES, ends, boxes):
            if box is not None and (found := jacobians(_neurons(end), box.points.to(end.model.dtype))) is not None:
                parts[name] = (box, found, orientation(found))
        mapped = jacobians(_mapped(fitted), boxes[0].points.to(observations.source.model.dtype))
        if "source" in parts and mapped is not None:
            source = parts["source"][1]
            signs = [one for one in (orientation(source), orientation(mapped)) if one is not None]
            whole = signs[0].sign() * signs[1].sign() if len(signs) == 2 else orientation(mapped)
            parts["map"] = (boxes[0], along(mapped, source), whole)
        drawn = {name: _drawn(*parts[name]) for name in ("source", "map", "target") if name in parts}
    measures = []
    for split, key in (("domain", "inside"), ("domain/wider", "wider")) if "map" in drawn else ():
        scope = Scope(split, observations.direction, fitted.recipe.seed)
        numbers = drawn["map"][key]
        measures += [
            scope.measure(name, fitted.label, split, Interval(numbers[name], None, None, numbers["n"]), "lower")
            for name in NAMES
        ]
    return measures, {"jacobian": drawn if "map" in drawn else {**drawn, "absent": STEPS}}


def _box(observations: Observations, side: int) -> Box | None:
    end, samples = (observations.source, observations.target)[side], observations.samples["fit"]
    if end.preparer.modality != "vector":
        return None
    inputs = torch.from_numpy(np.stack(samples.batch(range(len(samples)), side)).astype(np.float64))
    if inputs.shape[1] not in GRID or not bool((inputs.amax(0) > inputs.amin(0)).all()):
        return None
    return Box.around(inputs.to(observations.runtime.device))


def _neurons(end: HookedModel) -> Callable[[Tensor], Tensor]:
    """A network from its input to the selected neurons."""
    return lambda points: capture(end.model, [end.selected], {end.preparer.input_name: points})[0].flatten(1)


def _mapped(fitted: Fitted) -> Callable[[Tensor], Tensor]:
    """The source's input to what its neurons are mapped to, before landing."""
    model = fitted.model

    def compute(points: Tensor) -> Tensor:
        frames, mask, _ = model.activations({model.main_input_name: points})
        plan = model.plan(mask, None, None, mask.sum(1), frames)
        rows = model.rule.rows(frames, plan)
        # `predict` alone: landing goes in steps, whose derivative is 0 everywhere.
        return model.layer.predict(rows.flatten(0, 1).double()).reshape(len(points), -1)

    return compute


def _drawn(box: Box, jacobian: Tensor, determinants: Tensor | None) -> dict[str, Any]:
    found = condition(jacobian, box.inside)
    odd = singular(found, determinants, box.inside)
    everywhere = torch.ones_like(box.inside)
    return {
        "axes": [[_short(x) for x in axis.tolist()] for axis in box.axes],
        "low": box.points[box.inside].amin(0).tolist(),
        "high": box.points[box.inside].amax(0).tolist(),
        "condition": [_short(x) for x in found.tolist()],
        "singular": odd.int().tolist(),
        **{name: _numbers(found[where], odd[where]) for name, where in (("inside", box.inside), ("wider", everywhere))},
    }


def _numbers(found: Tensor, odd: Tensor) -> dict[str, Any]:
    values = (found.quantile(0.5), found.quantile(0.95), found.max(), odd.double().mean())
    return {**{name: float(value) for name, value in zip(NAMES, values)}, "n": len(found)}


def _short(number: float) -> float:
    # A drawing shows no more digits, and a grid has thousands of numbers in report.json.
    return float(f"{number:.4g}")
