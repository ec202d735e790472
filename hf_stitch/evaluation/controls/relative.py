"""Relative representations (Moschella et al. 2023): samples by their cosines to pairs that are known, with no map."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from hf_stitch.evaluation.answer_kinds.vectors import Profiles
from hf_stitch.evaluation.controls.context import ControlContext
from hf_stitch.evaluation.controls.direct import mean_activations, pairs_of
from hf_stitch.geometry.subsets import evenly_spaced

ORDER = 50
ANCHORS = 512  # by hand: more hardly change what is found, and cost their number in memory


def answers(context: ControlContext) -> dict[str, Any]:
    """Of vectors: only what is found can be told, since a profile is no vector of the target's space."""
    if (pairs := pairs_of(context)) is None:
        return {}
    rows = evenly_spaced(len(pairs[0]), min(len(pairs[0]), ANCHORS))
    source, target = (side[rows].double() for side in pairs)
    here = mean_activations(context.observations.frames[context.split].source)
    own = torch.from_numpy(np.array(context.own))
    return {"relative": Profiles(_profiles(here, source), _profiles(own, target))}


def _profiles(rows: Tensor, anchors: Tensor) -> np.ndarray:
    """Cosines (n, a) of rows (n, m) to anchors (a, m), both round the anchors' mean."""
    centre = anchors.mean(0)
    unit = torch.nn.functional.normalize
    return (unit(rows.double() - centre, dim=1) @ unit(anchors - centre, dim=1).T).numpy()
