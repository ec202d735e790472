"""The parts of a recipe: what each key means, may hold, and holds when it is absent."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """Base of all parts: frozen, unknown keys refused, and numbers that are none."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False)
