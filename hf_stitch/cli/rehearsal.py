"""What a rehearsal found, on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hf_stitch.cli.terminal import console, size, table

if TYPE_CHECKING:
    from hf_stitch.experiments.rehearsal.rehearse import Rehearsal


def tell(rehearsal: Rehearsal) -> None:
    """Models, stages, then the estimate for the real run."""
    found, out = rehearsal.content, console()
    for role, model in found["models"].items():
        what = f"{model['class']}, {model['parameters'] / 1e6:,.1f} M parameters (sizes: {model['configuration']})"
        out.print(f"{role}: {model['model']}: {what}")
        chosen = f"{model['features']} of {model['width']} features, {found['lengths'][role]} positions a sample"
        out.print(f"  {model['hook']}: {model['layout']}, {chosen}")
    out.print("")
    out.print(_stages(found))
    out.print("")
    out.print(_expected(found))
    for text in found["warnings"]:
        out.print(f"warning: {text}")
    for text in found["notes"]:
        out.print(f"note: {text}")


def _stages(found: dict[str, Any]) -> Any:
    shown = table("stage", "rehearsed", "real run, about", "from", right=("rehearsed", "real run, about"))
    for stage in found["stages"]:
        shown.add_row(stage["stage"], lasting(stage["measured_s"]), lasting(stage["expected_s"]), stage["rule"])
    return shown


def _expected(found: dict[str, Any]) -> Any:
    expected = found["expected"]
    shown = table("the real run, about", "", "")
    shown.add_row("time without downloads", lasting(expected["seconds"]), "on this machine")
    for name, key in (("download", "download_bytes"), ("disk", "disk_bytes")):
        parts = expected[key]
        shown.add_row(name, size(sum(parts.values())), ", ".join(f"{part} {size(n)}" for part, n in parts.items()))
    peaks = {part: n for part, n in expected["memory_bytes"].items() if part != "peak"}
    cause = max(peaks, key=lambda part: peaks[part])
    shown.add_row("memory at most", size(expected["memory_bytes"]["peak"]), f"at {cause}")
    shown.add_row("rows of the fit", f"{found['rows']['expected']:,}", "")
    done = found["rehearsed"]
    took = f"took {lasting(done['seconds'])}, {size(done['memory_peak_bytes'])}"
    shown.add_row("this rehearsal", took, f"{done['samples']} samples of the fit, {done['neighbours']} neighbours")
    return shown


def lasting(seconds: float) -> str:
    """A time as people read it."""
    # Limits by hand.
    if seconds < 100:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
