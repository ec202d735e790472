"""The parts `source` and `target`: a model and its hook point."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from hf_stitch.recipe.inputs import Input, check_inputs
from hf_stitch.recipe.part import Part

Role = Literal["source", "target"]
"""Which of the two models of a stitch."""
SIDES: tuple[Role, Role] = ("source", "target")
Direction = Literal["forward", "backward"]
"""From the recipe's source to its target, or with both swapped."""
PoolingName = Literal["mean", "cls", "max", "lasttoken", "weightedmean", "mean_sqrt_len_tokens", "pooler_output"]
"""From a model's states to one vector, by sentence-transformers' names; or the model's own pooled output."""


class Every(Part):
    """Every k-th feature."""

    every: PositiveInt = Field(description="take features 0, k, 2k, ...")


class Side(Part):
    """One model and its hook point."""

    model: str = Field(description="Hub id, local folder, or zoo: name")
    class_: str | None = Field(None, alias="class", description="transformers class; found from the config when absent")
    revision: str | None = Field(None, description="branch, tag or commit of a Hub id")
    hook: str = Field(description="dotted name of a submodule; `hf-stitch inspect MODEL` lists them")
    output: int | str | None = Field(None, description="element of a tuple or ModelOutput; absent: its first tensor")
    pooling: PoolingName | None = Field(
        None, description="how a model without a head makes its vector; absent: as its folder says, else mean"
    )
    features: Literal["all"] | Every | list[int] = Field("all", description="selected features of the hook point")
    inputs: dict[str, Input] = Field(
        {}, description="inputs of the model by name, where neither its configuration nor its processor gives them"
    )

    @model_validator(mode="after")
    def _inputs_can_be_made(self) -> Side:
        check_inputs(self.inputs)
        return self
