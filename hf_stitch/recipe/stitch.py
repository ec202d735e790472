"""The part `stitch`: the method of the map and its options."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, PositiveInt

from hf_stitch.recipe.part import Part

Method = Literal["affine", "diffusion", "orthogonal", "rbf"]


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
