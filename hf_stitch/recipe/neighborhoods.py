"""The part `neighborhoods`: which neighbours of each sample show the local metric."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from hf_stitch.recipe.part import Part


class Neighborhoods(Part):
    """How the local metric of a sample is found, for `diffusion`."""

    kind: Literal["gaussian", "jacobian", "given", "none"] = Field(
        "gaussian", description="drawn, exact derivatives, from the data, or none (Euclidean)"
    )
    # By hand.
    size: PositiveInt = Field(32, description="neighbours of a sample")
    # As in Bertalan et al. (2021), section 4.1, and in the thesis's experiments 1 and 3.
    delta: float = Field(0.05, gt=0, description="radius covered; the neighbours' standard deviation is delta / 4")
    where: Literal["input", "embedding"] | None = Field(
        None, description="absent: input for numbers, embedding for text"
    )
    rank: Literal["auto"] | PositiveInt = Field("auto", description="of the local metrics; auto: the largest gap")
    # By hand: memory and time of the maps grow with it.
    max_rank: PositiveInt = Field(32, description="most directions kept of a sample")
    eta: float | None = Field(None, gt=0, description="regularisation; absent: pseudo-inverse truncated at `rank`")
