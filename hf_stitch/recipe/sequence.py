"""The part `sequence`: length rules and their options."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from hf_stitch.recipe.part import Part

LengthRuleName = Literal["trim", "resample", "pool", "ctc", "spans"]
_BY_STEPS = ("ratio", "constant", "predicted", "oracle"), ("slice", "slicing")
RULES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "trim": _BY_STEPS,
    "resample": _BY_STEPS,
    "pool": ((), ("parts",)),
    "ctc": (("ctc",), ("parts", "unit", "align")),
    "spans": ((), ("parts",)),
}


class Lengths(Part):
    """How source timesteps become target timesteps."""

    length: LengthRuleName = Field("trim", description="the length rule")
    target_length: Literal["ratio", "constant", "predicted", "ctc", "oracle"] | None = Field(
        None, description="where the length comes from at run time; predicted: for each sample; absent: suits the rule"
    )
    slice: PositiveInt = Field(1, description="timesteps joined into one row, for trim and resample")
    slicing: Literal["windows", "strided"] = Field(
        "windows", description="slices of consecutive timesteps, or of equidistant ones over the whole sequence"
    )
    parts: PositiveInt = Field(1, description="averages joined into one row, for ctc, spans and pool")
    unit: Literal["word", "character", "token"] = Field(
        "word", description="what a position of the target is, for ctc; tokens of a word that was heard: as in the fit"
    )
    align: Literal["heard", "forced"] = Field(
        "heard", description="where words are in the fit, for ctc: as heard, or where the true text fits best"
    )
    per_sample: PositiveInt | None = Field(64, description="at most this many rows of one sample in the fit")
    fill: Literal["predict", "mean", "zero", "reference"] = Field(
        "predict",
        description="target features that were not selected: predicted, the mean of the predicted ones of that "
        "timestep, 0, or reference: their mean in the fit",
    )

    @model_validator(mode="after")
    def _suits_the_rule(self) -> Lengths:
        lengths, options = RULES[self.length]
        if self.target_length is not None and self.target_length not in lengths:
            known = f"takes {', '.join(lengths)}" if lengths else "finds the length itself: leave it out"
            raise ValueError(f"sequence.target_length: {self.target_length} with length: {self.length}, which {known}")
        for key in sorted({option for _, own in RULES.values() for option in own} - set(options)):
            if getattr(self, key) != type(self).model_fields[key].default:
                rules = " or ".join(rule for rule, (_, own) in RULES.items() if key in own)
                raise ValueError(f"sequence.{key}: {getattr(self, key)} needs length {rules}; got {self.length}")
        if self.slicing == "strided" and self.slice == 1:
            raise ValueError("sequence.slicing: strided needs `slice`, the number of timesteps in one; got 1")
        return self

    def default_length(self) -> str:
        """Where the target's length comes from when the recipe does not say."""
        lengths, _ = RULES[self.length]
        return self.target_length or (lengths[0] if lengths else self.length)
