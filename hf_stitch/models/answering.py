"""What a stitched model writes, from raw inputs on."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from hf_stitch.activations.ragged import Ragged
from hf_stitch.activations.text_output import Writer
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.stitching.lengths.position_plan import Plan
from hf_stitch.stitching.trust.gauge import Trust


def writer_of(model: StitchedModel) -> Writer | None:
    """How a stitched model writes; None of one that answers with numbers."""
    found = model.config.ends["suffix"].get("writes")
    return Writer.from_dict(found) if found else None


def finish(model: StitchedModel, writer: Writer, frames: Tensor, mask: Tensor, plan: Plan) -> Ragged:
    """The tokens that the target writes when source activations (b, t, m) are stitched to it."""
    values = model.stitch(frames, mask, plan)
    return writer.from_middle(model.suffix, model.config.ends["suffix"]["plan"], values, plan.mask)


def write(model: StitchedModel, inputs: Mapping[str, Tensor], trusted: bool = False) -> tuple[Ragged, Trust | None]:
    """What a model writes on inputs of its source, with its own generation settings, and how far to trust that.

    Args:
        inputs: as for its forward.
    """
    writer = writer_of(model)
    assert writer is not None
    given = dict(inputs)
    spans, lengths = given.pop("target_spans", None), given.pop("target_lengths", None)
    frames, mask, path = model.activations(given)
    plan = model.plan(mask, path, spans, lengths, frames)
    return finish(model, writer, frames, mask, plan), model.trusted(frames, plan) if trusted else None
