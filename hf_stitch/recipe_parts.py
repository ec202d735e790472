"""The parts of a recipe: what each key means, may hold, and holds when it is absent."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

Method = Literal["affine", "diffusion", "orthogonal", "rbf"]
LengthRuleName = Literal["trim", "resample", "pool", "ctc", "spans"]
_BY_STEPS = ("ratio", "constant", "predicted", "oracle"), ("slice", "slicing")
RULES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "trim": _BY_STEPS,
    "resample": _BY_STEPS,
    "pool": ((), ("parts",)),
    "ctc": (("ctc",), ("parts", "unit", "align")),
    "spans": ((), ("parts",)),
}
"""For each length rule where the target's length may come from, its default first, and the options that it takes."""


class Part(BaseModel):
    """Base of all parts: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


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
    features: Literal["all"] | Every | list[int] = Field("all", description="selected features of the hook point")


class Columns(Part):
    """Names of the dataset columns."""

    source: str = Field(description="the source's input: audio, text or numbers")
    target: str | None = Field(None, description="the target's own input; absent: the source's column")
    label: str | None = Field(None, description="true class, for accuracy")
    text: str | None = Field(None, description="true transcript, for word errors; absent: the target's text")
    times: str | None = Field(
        None,
        description="start and end of each target word in seconds, for spans from sound, at run time too",
    )
    group: str | None = Field(None, description="a column whose values get rows of their own, as test/<value>")
    id: str | None = Field(None, description="unique sample ids; absent: row numbers")
    source_neighbours: str | None = Field(None, description="lists of neighbours, for neighborhoods.kind: given")
    target_neighbours: str | None = Field(None, description="the same neighbours as the target sees them")
    neighbours: str | None = Field(None, description="or lists of ids: other samples are the neighbours, on both sides")
    target_answer: str | None = Field(
        None, description="what the target should answer: numbers, or text where it writes, for its true error"
    )
    source_answer: str | None = Field(None, description="what the source should answer, for directions: both")
    colour: str | None = Field(None, description="numbers that colour the report's drawings of the fit samples")


class Data(Part):
    """One set of samples."""

    dataset: str = Field(description="Hub dataset id, Parquet/JSONL/CSV file, folder of audio, or zoo: name")
    split: str | None = Field(None, description="split of a Hub or zoo dataset, slices such as train[:80%] too")
    revision: str | None = Field(None, description="branch, tag or commit of a Hub dataset")
    samples: PositiveInt | None = Field(None, description="the first n; absent: all")
    columns: Columns = Field(description="which column holds what; a folder of audio has audio, file_name, label")


class Splits(Part):
    """`fit` makes the map, `validation` chooses the method, `test` is only reported."""

    fit: Data = Field(description="samples that make the map")
    validation: Data | None = Field(None, description="samples that choose among the methods")
    test: Data | None = Field(None, description="samples that are only reported")


class Neighborhoods(Part):
    """How the local metric of a sample is found, for `diffusion`."""

    kind: Literal["gaussian", "jacobian", "given", "none"] = Field(
        "gaussian", description="drawn, exact derivatives, from the data, or none (Euclidean)"
    )
    size: PositiveInt = Field(32, description="neighbours of a sample")
    delta: float = Field(0.05, gt=0, description="radius covered; the neighbours' standard deviation is delta / 4")
    where: Literal["input", "embedding"] | None = Field(
        None, description="absent: input for numbers, embedding for text"
    )
    rank: Literal["auto"] | PositiveInt = Field("auto", description="of the local metrics; auto: the largest gap")
    max_rank: PositiveInt = Field(32, description="most directions kept of a sample")
    eta: float | None = Field(None, gt=0, description="regularisation; absent: pseudo-inverse truncated at `rank`")


class Sequence_(Part):
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
    def _suits_the_rule(self) -> Sequence_:
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


class Stitch(Part):
    """The stitching layer. Only the options that the method takes may be given."""

    method: Method = Field("affine", description="ridge, diffusion maps, Procrustes, or thin-plate spline")
    landing: Literal["none", "nearest"] = Field("none", description="nearest: snap to a target activation of the fit")
    ridge: Literal["auto"] | float | None = Field(None, description="affine: penalty; auto: cross-validation")
    sides: Literal["both", "source"] | None = Field(
        None, description="diffusion: a map of both clouds, or of the source's only"
    )
    coordinates: PositiveInt | None = Field(None, description="diffusion: how many; absent: at most 256")
    neighbours: Literal["grown", "all"] | PositiveInt | None = Field(
        None,
        description="diffusion: grown along the graph, all, or k nearest; absent: grown, or all if that is in pieces",
    )
    bandwidth: float | None = Field(None, gt=0, description="diffusion: kernel epsilon; absent: the 10th neighbour")
    inverse: Literal["aligned", "target"] | None = Field(
        None, description="diffusion: way back learned from pairs (default), or from the target's own map"
    )
    interpolation: Literal["nearest", "linear", "thin_plate", "nystroem", "harmonics"] | None = Field(
        None, description="diffusion: of coordinates at new activations; default thin_plate"
    )
    smoothing: float | None = Field(None, ge=0, description="rbf, diffusion: of the spline, in standard deviations")
    harmonics: Literal["keep", "drop"] | None = Field(
        None, description="diffusion: drop leaves out coordinates that are functions of earlier ones"
    )
    pairs: PositiveInt | None = Field(None, description="only so many corresponding pairs serve the fit")
    alignment: Literal["procrustes", "sign", "kabsch", "blocks", "closest_points"] | None = Field(
        None, description="diffusion: of the two maps; absent: procrustes, or blocks below 4 pairs a coordinate"
    )
    landmarks: PositiveInt | None = Field(None, description="rbf, diffusion: rows kept as centres; absent: all")
    shuffle: int | None = Field(None, description="a control: pairs are dealt at random, with this seed")
    engine: Literal["torch", "datafold"] | None = Field(
        None, description="diffusion: what computes the maps; datafold needs the extra of that name"
    )

    def options(self) -> dict[str, Any]:
        """The method's own options that were given."""
        given = self.model_dump(exclude_none=True)
        return {key: value for key, value in given.items() if key not in ("method", "landing", "shuffle")}

    @property
    def label(self) -> str:
        return self.method + ("+nearest" if self.landing == "nearest" else "")


class Generation(Part):
    """How a target that writes text does so; always without sampling. Absent: as its own generation settings say."""

    max_new_tokens: PositiveInt | None = Field(None, description="at most so many tokens; absent: its own limit, or 64")
    num_beams: PositiveInt | None = Field(None, description="beams searched; 1 is greedy")
    length_penalty: float | None = Field(None, description="of beams: above 0 favours longer texts")
    no_repeat_ngram_size: int | None = Field(None, ge=0, description="no run of so many tokens occurs twice")

    def settings(self) -> dict[str, Any]:
        """What was asked, by the names that transformers' `generate` has."""
        return self.model_dump(exclude_none=True)


class Rehearse(Part):
    """What `fit --rehearse` cannot know before anything is downloaded; changes nothing of a fit."""

    seconds: float = Field(12.0, gt=0, description="typical length of a sound")
    words: PositiveInt = Field(30, description="typical length of a text")
    samples: PositiveInt = Field(1000, description="of a Hub dataset, where data.*.samples does not say")
    source: str | dict[str, Any] | None = Field(
        None, description="config.json of the source, its folder, or its content, where it is not at hand"
    )
    target: str | dict[str, Any] | None = Field(None, description="the same of the target")
