"""The part `generation`: how a target that writes text does so."""

from __future__ import annotations

from typing import Any

from pydantic import Field, PositiveInt

from hf_stitch.recipe.part import Part


class Generation(Part):
    """How a target that writes text does so; always without sampling. Absent: as its own generation settings say."""

    max_new_tokens: PositiveInt | None = Field(None, description="at most so many tokens; absent: its own limit, or 64")
    num_beams: PositiveInt | None = Field(None, description="beams searched; 1 is greedy")
    length_penalty: float | None = Field(None, description="of beams: above 0 favours longer texts")
    no_repeat_ngram_size: int | None = Field(None, ge=0, description="no run of so many tokens occurs twice")

    def settings(self) -> dict[str, Any]:
        """What was asked, by the names that transformers' `generate` has."""
        return self.model_dump(exclude_none=True)
