"""The part `sequence`: length rules and their options.

Each rule is a class here, with what must be known of it before anything is loaded, and a file of its name in
`hf_stitch/stitching/lengths`. The options stand in one flat class: most are shared by several rules, and an option of
another rule is refused with the rules that take it, which the member of a union could not name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveInt, model_validator

from hf_stitch.recipe.part import Part

BY_STEPS = ("ratio", "constant", "predicted", "oracle")


class RuleFacts:
    """What a recipe, and whoever reads one, knows of a length rule; a subclass for each rule.

    Attributes:
        name: as in a recipe.
        target_lengths: where the target's length may come from, the default first; none: the rule finds it itself.
        options: keys of `sequence` that not every rule takes, and this one does.
        needs_ctc_head: it reads the greedy path of the source's CTC head, which is then part of the prefix.
        needs_target_texts: it reads the tokens of the target's texts in the fit.
        needs_target_spans: it reads, at run time too, which part of the source each token of the target shares.
    """

    name: ClassVar[str]
    target_lengths: ClassVar[tuple[str, ...]] = ()
    options: ClassVar[tuple[str, ...]] = ()
    needs_ctc_head: ClassVar[bool] = False
    needs_target_texts: ClassVar[bool] = False
    needs_target_spans: ClassVar[bool] = False

    @classmethod
    def takes(cls, key: str, value: Any) -> bool:
        """Whether a key of `sequence` with this value means anything to the rule."""
        if key == "target_length":
            return value in cls.target_lengths
        return key in cls.options or not _takers(key)


class TrimFacts(RuleFacts):
    name = "trim"
    target_lengths = BY_STEPS
    options = ("slice", "slicing")


class ResampleFacts(RuleFacts):
    name = "resample"
    target_lengths = BY_STEPS
    options = ("slice", "slicing")


class PoolFacts(RuleFacts):
    name = "pool"
    options = ("parts",)


class CtcFacts(RuleFacts):
    name = "ctc"
    target_lengths = ("ctc",)
    options = ("parts", "unit", "align")
    needs_ctc_head = True
    needs_target_texts = True


class SpansFacts(RuleFacts):
    name = "spans"
    options = ("parts",)
    needs_target_texts = True
    needs_target_spans = True


RULES: dict[str, type[RuleFacts]] = {rule.name: rule for rule in RuleFacts.__subclasses__()}

if TYPE_CHECKING:
    # Type checkers take no computed Literal.
    LengthRuleName = str
else:
    LengthRuleName = Literal[tuple(RULES)]


def _takers(key: str) -> list[str]:
    """Names of the rules that take an option; none of an option that all take."""
    return [name for name, rule in RULES.items() if key in rule.options]


def _for(key: str) -> str:
    *most, last = _takers(key)
    return f"for {', '.join(most)} and {last}" if most else f"for {last}"


class Lengths(Part):
    """How source timesteps become target timesteps."""

    length: LengthRuleName = Field("trim", description="the length rule")
    target_length: Literal["ratio", "constant", "predicted", "ctc", "oracle"] | None = Field(
        None, description="where the length comes from at run time; predicted: for each sample; absent: suits the rule"
    )
    slice: PositiveInt = Field(1, description=f"timesteps joined into one row, {_for('slice')}")
    slicing: Literal["windows", "strided"] = Field(
        "windows", description="slices of consecutive timesteps, or of equidistant ones over the whole sequence"
    )
    parts: PositiveInt = Field(1, description=f"averages joined into one row, {_for('parts')}")
    unit: Literal["word", "character", "token"] = Field(
        "word",
        description=f"what a position of the target is, {_for('unit')}; tokens of a word that was heard: as in the fit",
    )
    align: Literal["heard", "forced"] = Field(
        "heard",
        description=f"where words are in the fit, {_for('align')}: as heard, or where the true text fits best",
    )
    # By hand: neighbouring timesteps are alike, and long samples would outweigh the others.
    per_sample: PositiveInt | None = Field(64, description="at most this many rows of one sample in the fit")
    fill: Literal["predict", "mean", "zero", "reference"] = Field(
        "predict",
        description="target features that were not selected: predicted, the mean of the predicted ones of that "
        "timestep, 0, or reference: their mean in the fit",
    )

    @model_validator(mode="after")
    def _suits_the_rule(self) -> Lengths:
        lengths = self.facts.target_lengths
        if self.target_length is not None and self.target_length not in lengths:
            known = f"takes {', '.join(lengths)}" if lengths else "finds the length itself: leave it out"
            raise ValueError(f"sequence.target_length: {self.target_length} with length: {self.length}, which {known}")
        for key in sorted({option for rule in RULES.values() for option in rule.options} - set(self.facts.options)):
            # A value that is the default changes nothing, so it is let pass: recipes written by programs hold all keys.
            if getattr(self, key) != type(self).model_fields[key].default:
                rules = " or ".join(_takers(key))
                raise ValueError(f"sequence.{key}: {getattr(self, key)} needs length {rules}; got {self.length}")
        if self.slicing == "strided" and self.slice == 1:
            raise ValueError("sequence.slicing: strided needs `slice`, the number of timesteps in one; got 1")
        return self

    @property
    def facts(self) -> type[RuleFacts]:
        """What is known of the length rule."""
        return RULES[self.length]

    def default_length(self) -> str:
        """Where the target's length comes from when the recipe does not say."""
        lengths = self.facts.target_lengths
        return self.target_length or (lengths[0] if lengths else self.length)


def facts_of(sequence: Mapping[str, Any]) -> type[RuleFacts]:
    """What is known of the rule of a `sequence` part, or of a saved rule's spec, as plain data.

    A rule without a name is the default one; of a name that only a later version knows nothing is known.
    """
    return RULES.get(sequence.get("length", Lengths.model_fields["length"].default), RuleFacts)
