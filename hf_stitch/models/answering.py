"""What a stitched model answers and writes, from prepared inputs on.

Models here are a `StitchedModel`, typed as any: its module reads these functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from transformers.utils import ModelOutput

from hf_stitch.activations.ragged import Ragged
from hf_stitch.activations.text_output import TextOutput
from hf_stitch.stitching.lengths.position_plan import Plan
from hf_stitch.stitching.trust.gauge import Trust


def text_output_of(model: Any) -> TextOutput | None:
    """How a stitched model writes; None of one that answers with numbers."""
    found = model.config.ends["suffix"].get("writes")
    return TextOutput.from_dict(found) if found else None


def rows_of(output: ModelOutput) -> Tensor | None:
    """The answers (b, k) in a model's output: rows of logits, or vectors; None where it holds neither."""
    for name in ("logits", "embeddings"):
        found = output.get(name)
        if isinstance(found, Tensor) and found.ndim == 2:
            return found
    return None


def finish(model: Any, text_output: TextOutput, frames: Tensor, mask: Tensor, plan: Plan) -> Ragged:
    """The tokens that the target writes when source activations (b, t, m) are stitched to it."""
    values = model.stitch(frames, mask, plan)
    suffix_plan, padding = model.config.ends["suffix"]["plan"], model.padding("suffix")
    return text_output.from_middle(model.suffix, suffix_plan, values, plan.mask, padding)


def write(model: Any, inputs: Mapping[str, Tensor], trusted: bool = False) -> tuple[Ragged, Trust | None]:
    """What a model writes on inputs of its source, with its own generation settings, and how far to trust that.

    Args:
        inputs: as for its forward.
    """
    text_output = text_output_of(model)
    assert text_output is not None
    if text_output.mode == "middle":
        return _written_in_steps(model, text_output, inputs, trusted)
    given = dict(inputs)
    spans, lengths = given.pop("target_spans", None), given.pop("target_lengths", None)
    frames, mask, path = model.activations(given)
    plan = model.plan(mask, path, spans, lengths, frames)
    return finish(model, text_output, frames, mask, plan), model.trusted(frames, plan) if trusted else None


def _written_in_steps(
    model: Any, text_output: TextOutput, inputs: Mapping[str, Tensor], trusted: bool
) -> tuple[Ragged, Trust | None]:
    """The same of a causal target in the middle, which writes behind the source's own tokens."""
    tokens: Tensor = model.generate(**inputs)
    found = text_output.kept(tokens[:, inputs["input_ids"].shape[1] :])
    if not trusted:
        return found, None
    frames, _, plan = model.crossing(dict(inputs))
    return found, model.trusted(frames, plan)
