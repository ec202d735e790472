"""The part `rehearse`: what a rehearsal cannot know before anything is downloaded."""

from __future__ import annotations

from typing import Any

from pydantic import Field, PositiveInt

from hf_stitch.recipe.part import Part


class Rehearse(Part):
    """What `fit --rehearse` cannot know before anything is downloaded; changes nothing of a fit."""

    # By hand: utterances of LibriSpeech last about as long.
    seconds: float = Field(12.0, gt=0, description="typical length of a sound")
    # By hand.
    words: PositiveInt = Field(30, description="typical length of a text")
    # By hand.
    samples: PositiveInt = Field(1000, description="of a Hub dataset, where data.*.samples does not say")
    source: str | dict[str, Any] | None = Field(
        None, description="config.json of the source, its folder, or its content, where it is not at hand"
    )
    target: str | dict[str, Any] | None = Field(None, description="the same of the target")
