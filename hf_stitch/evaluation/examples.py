"""Some texts that were generated on the test, for the report to show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hf_stitch.activations.observations import Observations
from hf_stitch.activations.ragged import Ragged
from hf_stitch.evaluation.answer_kinds.base import References
from hf_stitch.evaluation.shown_inputs import CHARACTERS
from hf_stitch.geometry.subsets import evenly_spaced

SHOWN = 8  # by hand


def examples(references: References, given: Any, keys: Sequence[str]) -> dict[str, Any]:
    """Evenly spread samples as `{"samples": names, "rows": {title: texts}}`; empty where answers are no texts."""
    rows = references.kind.samples_shown(given, references)
    if not rows:
        return {}
    chosen = evenly_spaced(len(keys), min(len(keys), SHOWN)).tolist()
    return {
        "samples": [keys[i] for i in chosen],
        "rows": {name: [_cut(row[i]) for i in chosen] for name, row in rows.items()},
    }


def _cut(text: str) -> str:
    """The beginning: a report shows no whole documents of the test."""
    return text if len(text) <= CHARACTERS else f"{text[:CHARACTERS]} ..."


def texts_cut_off(observations: Observations) -> list[str]:
    """Notes about texts of the target itself that end where its limit of tokens is."""
    target, notes = observations.target, []
    settings: Any = getattr(target.model, "generation_config", None)
    limit = getattr(settings, "max_new_tokens", None)
    for split, frames in observations.frames.items():
        writes = target.text_output is not None and target.text_output.mode in ("encoder", "prompt")
        if isinstance(frames.output, Ragged) and limit and writes:
            count = int((frames.output.lengths >= limit).sum())
            if count:
                most = f"the {limit} tokens of `generation.max_new_tokens`"
                notes.append(f"{split}: {count} of the target's own {len(frames)} texts are cut off at {most}")
    return notes
