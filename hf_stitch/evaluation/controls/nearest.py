"""The true answer of the fit sample whose source input is nearest: of numbers, a stitch must do better."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from hf_stitch.evaluation.answer_kinds.numbers import Numbers
from hf_stitch.evaluation.controls.context import ControlContext
from hf_stitch.geometry.distances import nearest_rows
from hf_stitch.geometry.subsets import evenly_spaced

ORDER = 30


def answers(context: ControlContext) -> dict[str, Any]:
    """`nearest` knows which target answer belongs to every fit sample, `nearest-pair` only those of the pairs that the
    recipe's own map is given."""
    seen = context.observations
    fit = seen.samples.get("fit")
    applies = isinstance(context.kind, Numbers) and seen.source.preparer.modality == "vector"
    if fit is None or context.truth is None or not applies:
        return {}
    known = context.kind.truth(fit)
    if known is None:
        return {}
    here = seen.samples[context.split]
    asked = np.stack(here.batch(range(len(here)), 0))
    found, pairs = {}, context.recipe.stitch.get("pairs")
    for name, count in (("nearest", None), ("nearest-pair", pairs)):
        if name == "nearest" or count is not None:
            # The same rows as the map's pairs: the control must know no more than the map.
            rows = evenly_spaced(len(fit), count).tolist()
            near = nearest_rows(torch.from_numpy(asked), torch.from_numpy(np.stack(fit.batch(rows, 0))))
            found[name] = known[np.array(rows)[near.numpy()]]
    return found
