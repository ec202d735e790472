"""A verdict: its code, its text, and what to do next."""

from __future__ import annotations

from pydantic.dataclasses import dataclass

from hf_stitch.report.measure import STRICT


@dataclass(frozen=True, config=STRICT)
class Verdict:
    """A code for programs (one of `catalogue.VERDICTS`), a sentence for people, and what to do next."""

    code: str
    text: str
    next: str
