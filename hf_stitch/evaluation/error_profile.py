"""Where a stitched model is wrong: its share of errors by class and by length of the source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hf_stitch.evaluation.answer_kinds.base import References
from hf_stitch.evaluation.statistics.intervals import wilson


def error_profile(references: References, given: Any, lengths: np.ndarray, keys: Sequence[str]) -> dict[str, Any]:
    """Shares of answers other than the target's own, for the report's drawings; none where no answer is plainly wrong.

    Args:
        given: the model's answers to n samples, as the references' kind reads them.
        lengths: (n,) timesteps of the source. keys: names of the samples.

    Returns:
        `error_by_length`, `wrong` (names of samples), and where the target answers with classes `error_by_class` and
        `confusion`.
    """
    wrong = references.kind.wrong(given, references)
    if wrong is None:
        return {}
    classes = {name: _share(wrong[rows]) for name, rows in references.kind.groups(references).items()}
    found: dict[str, Any] = {"error_by_class": classes} if classes else {}
    if confusion := references.kind.confusion(given, references):
        found["confusion"] = confusion
    return found | {
        "error_by_length": _by_length(lengths, wrong),
        "wrong": [keys[int(i)] for i in np.flatnonzero(wrong)],
    }


def never_right(by_class: Mapping[str, Any] | None) -> dict[str, int]:
    """Of an `error_by_class` the classes of which all samples are answered otherwise, with the number of those."""
    return {name: share["n"] for name, share in (by_class or {}).items() if share["value"] == 1.0}


def _by_length(lengths: np.ndarray, wrong: np.ndarray) -> dict[str, Any]:
    """Share of wrong answers in quarters of the samples by source length."""
    # unique: samples of few lengths make fewer than four groups.
    edges = np.unique(np.quantile(lengths, [0, 0.25, 0.5, 0.75, 1.0]).astype(int))
    places = np.clip(np.searchsorted(edges, lengths, side="right") - 1, 0, max(len(edges) - 2, 0))
    return {
        f"{edges[k]}-{edges[min(k + 1, len(edges) - 1)]}": _share(wrong[places == k])
        for k in sorted(set(places.tolist()))
    }


def _share(wrong: np.ndarray) -> dict[str, Any]:
    found = wilson(int(wrong.sum()), len(wrong))
    return {"value": found.value, "low": found.low, "high": found.high, "n": found.n}
