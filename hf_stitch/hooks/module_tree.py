"""What `hf-stitch inspect` shows: every module of a model, and whether it is a usable hook point."""

from __future__ import annotations

from typing import Any

from torch import nn

from hf_stitch.hooks.probe_inputs import make_inputs_for
from hf_stitch.hooks.trace import MakeInputs, ModelTrace, copied


def module_tree(model: nn.Module, make_inputs: MakeInputs | None = None) -> list[dict[str, Any]]:
    """One row for each module, in the model's own order.

    Returns:
        JSON rows: name, class, depth, parameters (count), calls (in one forward pass; where there are several, NAME#0,
        NAME#1, ... are the hook points), shape (in symbols: b batch, t time), layout (None when unusable), width,
        usable, reason (why not, else None).

    Raises:
        HookError: the model cannot run on the probe inputs.
    """
    model = copied(model)
    trace = ModelTrace(model, make_inputs or make_inputs_for(model))
    rows = []
    for name, module in trace.modules.items():
        if not name:
            continue
        point, reason = trace.examine(name)
        rows.append(
            {
                "name": name,
                "class": type(module).__name__,
                "depth": name.count("."),
                "parameters": sum(p.numel() for p in module.parameters()),
                "calls": trace.calls(name),
                "shape": trace.shape(name),
                "layout": point.layout if point else None,
                "width": point.width if point else None,
                "usable": point is not None,
                "reason": reason or None,
            }
        )
    return rows
