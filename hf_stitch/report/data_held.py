"""What a report holds of the data of the test, to be told wherever it is handed on."""

from __future__ import annotations

from typing import Any

from hf_stitch.report.plain_json import part
from hf_stitch.report.report import Report


def failing_samples(failures: Any) -> list[dict[str, Any]]:
    """The samples of `diagnostics.failures`."""
    found = part(failures).get("samples")
    return [part(one) for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def data_held(report: Report) -> list[str]:
    """Pieces of the test data in a report, in its page and in part in its card, as words; none where there are none."""
    found, told = report.diagnostics, []
    failing = failing_samples(found.failures)
    kinds = {kind for one in failing for shown in part(one, "inputs").values() for kind in _kinds(shown)}
    if failing:
        what = ", ".join(sorted(kinds)) or "unreadable"
        told.append(f"the inputs of {_many(len(failing))} ({what}) with the answers to them")
    if samples := part(found.written).get("samples"):
        told.append(f"the texts generated for {_many(len(samples))}")
    pictures = part(found.pictures)
    if count := sum(len(part(pictures, way).get("samples") or []) for way in pictures):
        told.append(f"the pictures of {_many(count)}")
    return told


def _many(count: int) -> str:
    return f"{count} sample{'s' * (count != 1)}"


KINDS = {"text": "texts", "sound": "sounds", "picture": "pictures", "numbers": "numbers"}


def _kinds(shown: Any) -> list[str]:
    return [words for key, words in KINDS.items() if key in part(shown)]
