"""Where a stitched model is wrong: its share of errors by class and by length of the source."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from hf_stitch.activations.frames import Answers
from hf_stitch.activations.observations import Observations
from hf_stitch.activations.ragged import Ragged
from hf_stitch.evaluation.answer_kinds.texts import (
    GeneratedTexts,
    same,
)
from hf_stitch.evaluation.references import References
from hf_stitch.models.tasks import is_classifier


def error_profile(observations: Observations, references: References, answers: Answers) -> dict[str, Any]:
    """Share of disagreement by class and by source length on the test, for the report's drawings."""
    samples = observations.samples["test"]
    if references.script is not None:
        assert isinstance(answers, Ragged)
        wrong = ~same(GeneratedTexts.of(observations.target, answers), references.script)
        return {
            "error_by_length": _by_length(observations, wrong),
            "wrong": [samples.keys[i] for i in np.flatnonzero(wrong)],
        }
    if not is_classifier(observations.target):
        return {}
    assert isinstance(answers, Tensor)
    wrong = answers.argmax(-1).numpy() != references.labels
    names = observations.target.model.config.id2label
    classes = {
        str(names.get(k, k)): _share(wrong[references.labels == k]) for k in sorted(set(references.labels.tolist()))
    }
    return {
        "error_by_class": classes,
        "error_by_length": _by_length(observations, wrong),
        "wrong": [samples.keys[i] for i in np.flatnonzero(wrong)],
    }


def _by_length(observations: Observations, wrong: np.ndarray) -> dict[str, Any]:
    """Share of wrong answers in quarters of the test by source length."""
    lengths = observations.frames["test"].source.lengths.numpy()
    edges = np.unique(np.quantile(lengths, [0, 0.25, 0.5, 0.75, 1.0]).astype(int))
    places = np.clip(np.searchsorted(edges, lengths, side="right") - 1, 0, max(len(edges) - 2, 0))
    return {
        f"{edges[k]}-{edges[min(k + 1, len(edges) - 1)]}": _share(wrong[places == k])
        for k in sorted(set(places.tolist()))
    }


def _share(wrong: np.ndarray) -> dict[str, Any]:
    from hf_stitch.evaluation.statistics.intervals import wilson

    found = wilson(int(wrong.sum()), len(wrong))
    return {"value": found.value, "low": found.low, "high": found.high, "n": found.n}
