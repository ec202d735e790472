"""The part `data`: which samples, from where, in which columns."""

from __future__ import annotations

from pydantic import Field, PositiveInt, model_validator

from hf_stitch.recipe.part import Part


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


OPTIONAL = ("label", "text", "group", "id", "colour", "neighbours", "source_neighbours", "target_neighbours",
            "target_answer", "source_answer")  # fmt: skip
"""Columns without which a stitched model can still be measured; less of it is then known."""


class Data(Part):
    """One set of samples."""

    dataset: str = Field(description="Hub dataset id, Parquet/JSONL/CSV file, folder of audio, or zoo: name")
    split: str | None = Field(None, description="split of a Hub or zoo dataset, slices such as train[:80%] too")
    revision: str | None = Field(None, description="branch, tag or commit of a Hub dataset")
    samples: PositiveInt | None = Field(None, description="the first n; absent: all")
    columns: Columns = Field(description="which column holds what; a folder of audio has audio, file_name, label")
    streaming: bool = Field(
        False, description="read a Hub dataset or a large file only as far as `samples` says, instead of all of it"
    )

    @model_validator(mode="after")
    def _a_stream_ends(self) -> Data:
        if self.streaming and self.samples is None:
            raise ValueError("streaming: reads no further than `samples` says; give samples, or leave streaming out")
        if self.streaming and self.columns.neighbours is not None:
            raise ValueError("streaming: columns.neighbours may name any row of the data; leave streaming out")
        return self


class Splits(Part):
    """`fit` makes the map, `validation` chooses the method, `test` is only reported."""

    fit: Data = Field(description="samples that make the map")
    validation: Data | None = Field(None, description="samples that choose among the methods")
    test: Data | None = Field(None, description="samples that are only reported")
