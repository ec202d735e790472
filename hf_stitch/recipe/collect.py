"""The part `collect`: how activations are collected and stored."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from hf_stitch.recipe.part import Part


class Collect(Part):
    """How activations are collected and stored; another choice collects them once more."""

    tokens: PositiveInt | None = Field(
        None,
        description="texts run together up to so many, with padding: many short or few long ones; absent: 16 of them",
    )
    dtype: Literal["bfloat16"] | None = Field(
        None, description="stored with three digits in half the space; absent: as the models give them"
    )
