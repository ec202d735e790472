"""Some texts that were written on the test, for the report to show."""

from __future__ import annotations

from typing import Any

from hf_stitch.activations.frames import Answers
from hf_stitch.activations.observations import Workbench
from hf_stitch.activations.ragged import Ragged
from hf_stitch.evaluation.answer_kinds.texts import Script
from hf_stitch.evaluation.references import References
from hf_stitch.geometry.subsets import spaced

SHOWN = 8


def examples(bench: Workbench, own: References, answers: Answers) -> dict[str, Any]:
    """Evenly spread test samples as `{"samples": names, "rows": {title: texts}}`; empty where nothing is written."""
    if own.script is None or not isinstance(answers, Ragged):
        return {}
    rows = {"stitched": Script.of(bench.target, answers).texts, "target": own.script.texts}
    if own.cascade_script is not None:
        rows["cascade"] = own.cascade_script.texts
    if own.true_texts is not None:
        rows["should be"] = own.true_texts
    if own.heard is not None:
        rows["source heard"] = own.heard
    keys = bench.samples["test"].keys
    chosen = spaced(len(keys), min(len(keys), SHOWN)).tolist()
    return {
        "samples": [keys[i] for i in chosen],
        "rows": {name: [row[i] for i in chosen] for name, row in rows.items()},
    }


def cut_short(bench: Workbench) -> list[str]:
    """Notes about texts of the target itself that end where its limit of tokens is."""
    settings: Any = getattr(bench.target.model, "generation_config", None)
    limit, notes = getattr(settings, "max_new_tokens", None), []
    for split, frames in bench.frames.items():
        if isinstance(frames.output, Ragged) and limit and bench.target.writer and bench.target.writer.way != "ctc":
            count = int((frames.output.lengths >= limit).sum())
            if count:
                most = f"the {limit} tokens of `generation.max_new_tokens`"
                notes.append(f"{split}: {count} of the target's own {len(frames)} texts are cut off at {most}")
    return notes
