"""A verdict: its code, its text, and what to do next."""

from __future__ import annotations

from pydantic.dataclasses import dataclass

from hf_stitch.report.measure import STRICT

CODES = (
    "comparison-only",
    "holds",
    "holds-partly",
    "fails",
    "no-better-than-majority",
    "regression-holds",
    "regression-holds-partly",
    "regression-fails",
    "no-better-than-constant",
    "unscaled",
    "not-measured",
)


@dataclass(frozen=True, config=STRICT)
class Verdict:
    """A code for programs, a sentence for people, and what to do next."""

    code: str
    text: str
    next: str
