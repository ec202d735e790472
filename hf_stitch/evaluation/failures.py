"""The test samples on which a stitched model is farthest from the target: what was asked, and what both answer."""

from __future__ import annotations

from typing import Any

import numpy as np

from hf_stitch.errors import StitchError
from hf_stitch.evaluation.answer_kinds.base import References
from hf_stitch.evaluation.shown_inputs import shown_input
from hf_stitch.models.fitted import Fitted

SHOWN = 10  # by hand: each is a piece of the test data in the report


def failures(fitted: Fitted, references: References) -> dict[str, Any]:
    """`{"failing", "of", "samples"}`: the worst few of the test, of so many that are answered otherwise.

    `failing` is null of numbers, which are never plainly wrong. A sample has its `inputs` by side (the target's where
    it is another), `answers` of target and stitched, `expected` where the data say it, and its `error` where it is no
    matter of right and wrong.
    """
    seen, kind, given = fitted.observations, references.kind, fitted.answers["test"]
    own = seen.frames["test"].output
    severity = kind.severity(given, own)
    wrong = kind.wrong(kind.read(given), references)
    rows = np.flatnonzero(severity > 0 if wrong is None else wrong)
    worst = rows[np.argsort(-severity[rows], kind="stable")][:SHOWN].tolist()
    configs = fitted.model.config.source, fitted.model.config.target
    told = [kind.answers_shown(answers, worst, references, configs[1]) for answers in (own, given)]
    found = []
    for place, i in enumerate(worst):
        answers = {"target": told[0][place], "stitched": told[1][place]}
        sample = {"sample": seen.samples["test"].keys[i], "inputs": _inputs(fitted, i, configs), "answers": answers}
        if (expected := kind.expected_shown(references, i, configs[1])) is not None:
            sample["expected"] = expected
        if kind.error != "agreement":
            sample["error"] = float(severity[i])
        found.append(sample)
    return {"failing": None if wrong is None else int(wrong.sum()), "of": len(severity), "samples": found}


def _inputs(fitted: Fitted, i: int, configs: tuple[Any, Any]) -> dict[str, Any]:
    """What the models were given, by side; one that both read in the same way is the source's alone."""
    samples = fitted.observations.samples["test"]
    kinds = [preparer.modality for preparer in samples.preparers]
    alike = samples.columns[0] == samples.columns[1] and kinds[0] == kinds[1]
    found = {}
    for side, role in enumerate(("source",) if alike else ("source", "target")):
        try:
            found[role] = shown_input(samples, i, side, configs[side])
        except StitchError:  # a file that was there when activations were collected
            found[role] = {}
    return found
