"""Ridge and Procrustes from the source's activations straight to the target's vectors, without the target's half."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hf_stitch.activations.activation_set import ActivationSet
from hf_stitch.activations.ragged import Sequences
from hf_stitch.errors import FitError
from hf_stitch.evaluation.answer_kinds.vectors import Vectors
from hf_stitch.evaluation.controls.context import ControlContext
from hf_stitch.geometry.subsets import evenly_spaced
from hf_stitch.stitching.layers.fit_layer import fit_layer

ORDER = 40
MAPS = {"ridge": "affine", "procrustes": "orthogonal"}


def answers(context: ControlContext) -> dict[str, Any]:
    """Of vectors: maps from the mean of a sample's activations at the hook point, fitted on the pairs of the recipe."""
    if (pairs := pairs_of(context)) is None:
        return {}
    (source, target), here = pairs, mean_activations(context.observations.frames[context.split].source)
    keys = torch.stack([torch.arange(len(source)), torch.zeros(len(source), dtype=torch.long)], 1)
    found = {}
    for name, method in MAPS.items():
        try:
            layer = fit_layer(method, ActivationSet(source, keys), ActivationSet(target, keys))
        except FitError:  # too few pairs, or activations that never move
            continue
        with torch.no_grad():
            found[name] = layer(here).double().numpy()
    return found


def pairs_of(context: ControlContext) -> tuple[Tensor, Tensor] | None:
    """Mean source activations (n, m) and the target's vectors (n, k) of the fit, as many as the recipe's own map has.

    None where the answers are no vectors, or nothing is known of the fit.
    """
    fit = context.observations.frames.get("fit")
    if fit is None or not isinstance(context.kind, Vectors) or not isinstance(fit.output, Tensor):
        return None
    # The same samples as the map's pairs: a control must know no more than the map.
    rows = evenly_spaced(len(fit), _count(context, len(fit)))
    return mean_activations(fit.source)[rows], fit.output[rows]


def _count(context: ControlContext, most: int) -> int | None:
    pairs = context.recipe.stitch.get("pairs")
    return None if pairs is None else min(int(pairs), most)


def mean_activations(frames: Sequences) -> Tensor:
    """(n, m) mean over the timesteps of each sample, at least in float32."""
    found = torch.empty(len(frames), *frames.shape, dtype=torch.promote_types(frames.dtype, torch.float32))
    for part in frames.parts:
        own = frames.take(part)
        found[torch.as_tensor(part)] = torch.segment_reduce(
            own.values.to(found.dtype), "mean", lengths=own.lengths, axis=0
        )
    return found
