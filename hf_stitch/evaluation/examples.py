"""Some texts that were written on the test, for the report to show."""

from __future__ import annotations

from typing import Any

from hf_stitch.activations.frames import Answers
from hf_stitch.activations.observations import Observations
from hf_stitch.activations.ragged import Ragged
from hf_stitch.evaluation.answer_kinds.texts import GeneratedTexts
from hf_stitch.evaluation.references import References
from hf_stitch.geometry.subsets import evenly_spaced

SHOWN = 8


def examples(observations: Observations, own: References, answers: Answers) -> dict[str, Any]:
    """Evenly spread test samples as `{"samples": names, "rows": {title: texts}}`; empty where nothing is written."""
    if own.script is None or not isinstance(answers, Ragged):
        return {}
    rows = {"stitched": GeneratedTexts.of(observations.target, answers).texts, "target": own.script.texts}
    if own.cascade_texts is not None:
        rows["cascade"] = own.cascade_texts.texts
    if own.true_texts is not None:
        rows["should be"] = own.true_texts
    if own.heard is not None:
        rows["source heard"] = own.heard
    keys = observations.samples["test"].keys
    chosen = evenly_spaced(len(keys), min(len(keys), SHOWN)).tolist()
    return {
        "samples": [keys[i] for i in chosen],
        "rows": {name: [row[i] for i in chosen] for name, row in rows.items()},
    }


def cut_short(observations: Observations) -> list[str]:
    """Notes about texts of the target itself that end where its limit of tokens is."""
    settings: Any = getattr(observations.target.model, "generation_config", None)
    limit, notes = getattr(settings, "max_new_tokens", None), []
    for split, frames in observations.frames.items():
        if (
            isinstance(frames.output, Ragged)
            and limit
            and observations.target.text_output
            and observations.target.text_output.mode != "ctc"
        ):
            count = int((frames.output.lengths >= limit).sum())
            if count:
                most = f"the {limit} tokens of `generation.max_new_tokens`"
                notes.append(f"{split}: {count} of the target's own {len(frames)} texts are cut off at {most}")
    return notes
