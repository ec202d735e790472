"""Where things stand in a report's diagnostics.

The fitted part writes `fits: {label: what the layer found}`, `error_by_length` and `error_by_class: {bin: {value, low,
high, n}}`, `warnings`, and `licences: {source, target}`; whatever else is there is shown as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hf_stitch.report.report import Report

SIDES = ("source", "target")


def part(plain: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """A nested mapping, empty where there is none."""
    found: Any = plain
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return dict(found) if isinstance(found, Mapping) else {}


def clouds_of(report: Report) -> tuple[str, dict[str, dict[str, Any]]]:
    """Label and sides of the diffusion maps to show: the saved method's, else the first that has any."""
    fits = part(report.diagnostics, "fits")
    for label in sorted(fits, key=lambda label: label != report.method):
        fit = part(fits, label)
        sides = {side: {**part(fit, "neighbourhoods", side), **part(fit, side)} for side in SIDES}
        if any("eigenvalues" in facts for facts in sides.values()):
            return label, sides
    return "", {side: {} for side in SIDES}


def warnings_of(report: Report) -> list[str]:
    """Warnings of the run and of every fit, each once; those of methods that were not saved carry their label."""
    found = _texts(report.diagnostics.get("warnings"))
    for label, fit in part(report.diagnostics, "fits").items():
        prefix = "" if label == report.method else f"{label}: "
        found += [prefix + text for text in _texts(part({label: fit}, label).get("warnings"))]
    return list(dict.fromkeys(found))


def notes_of(report: Report) -> list[str]:
    """Notes that are not among the warnings already."""
    known = set(warnings_of(report))
    return [text for text in report.notes if text not in known]


def seconds_of(report: Report) -> float | None:
    """Total time: the stage `total` where there is one, else the sum."""
    known = [value for value in report.timings.values() if value is not None]
    return report.timings.get("total") or (sum(known) if known else None)


def _texts(found: Any) -> list[str]:
    return [str(text) for text in found if text] if isinstance(found, list) else []
