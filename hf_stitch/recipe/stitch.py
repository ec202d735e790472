"""The part `stitch`: one class of options a stitching method, with the facts of that method.

A method is a class here and `stitching/layers/<method>.py`, found by its name; nothing else asks for one by name. An
option that is absent stays None in the recipe, so that a default can be told from a wish and changes no fingerprint;
`resolved` puts in what the method then takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import (
    BeforeValidator,
    Field,
    ModelWrapValidatorHandler,
    PositiveInt,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from hf_stitch.errors import RecipeError, nearest
from hf_stitch.recipe.part import Part
from hf_stitch.recipe.side import SIDES, Role

Landing = Literal["none", "nearest"]
Pairs = Annotated[
    PositiveInt | None, Field(description="only so many pairs, evenly spread, serve the fit; absent: all")
]
Landmarks = Annotated[
    PositiveInt | None, Field(description="rows kept as centres, far from each other; absent: all, without loss")
]
Smoothing = Annotated[float | None, Field(ge=0, description="of the spline, in standard deviations; 0 interpolates")]
Ridge = Annotated[Literal["auto"] | float | None, Field(description="penalty; auto: cross-validation")]


METHODS: dict[str, type[Stitch]] = {}
"""The options class of each method; filled below from the union of all."""


class Stitch(Part):
    """What every method takes. Subclasses name the method, its facts, and its own options with their defaults."""

    summary: ClassVar[str] = ""
    needs_metric: ClassVar[bool] = False  # compares rows by the local metrics of their neighbourhoods
    keeps_rows: ClassVar[bool] = False  # one centre a row: undetermined by fewer rows than features
    trained: ClassVar[bool] = False  # by gradient, through both halves
    widths_equal: ClassVar[bool] = False  # maps between hook points of one width only
    defaults: ClassVar[Mapping[str, Any]] = {}  # what an absent option is taken for, where that is not None

    method: str = Field(description="the map")
    landing: Landing = Field("none", description="nearest: snap to a target activation of the fit")
    shuffle: int | None = Field(None, description="a control: pairs are dealt at random, with this seed")

    _foreign: dict[str, Any] = PrivateAttr(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _keep_foreign(cls, content: Any, fields: ModelWrapValidatorHandler[Self]) -> Self:
        """Options of other methods are kept until `refuse_foreign`: an override of the method alone leaves them in
        entries of `compare`, which are then refused one by one while the others are fitted. Null ones are absent."""
        others = {name for one in METHODS.values() for name in one.option_names()} - set(cls.option_names())
        if not isinstance(content, Mapping) or not others & set(content):
            return fields(content)
        made = fields({key: value for key, value in content.items() if key not in others})
        made._foreign.update({key: value for key, value in content.items() if key in others and value is not None})
        return made

    def refuse_foreign(self) -> None:
        """RecipeError where an option of another method was given."""
        for name in self._foreign:
            known = self.option_names()
            raise RecipeError(f"method {self.method} has no option {name!r}; {nearest(name, known)}")

    @classmethod
    def option_names(cls) -> list[str]:
        """Names of the options that the method has beside those of all methods."""
        return [name for name in cls.model_fields if name not in Stitch.model_fields]

    def options(self) -> dict[str, Any]:
        """The options that were given, those of other methods too, which no layer takes."""
        own = {name: value for name in self.option_names() if (value := getattr(self, name)) is not None}
        return own | self._foreign

    def resolved(self) -> dict[str, Any]:
        """The method's own options, all of them, the absent ones by their defaults."""
        given = self.options()
        return {name: given.get(name, self.defaults.get(name)) for name in self.option_names()}

    def get(self, option: str) -> Any:
        """A given option; None where it is absent, or where the method has no such option."""
        return self.options().get(option)

    def metric_sides(self) -> tuple[Role, ...]:
        """The sides whose local metrics the method asks for."""
        return SIDES if self.needs_metric else ()

    def work(self, rows: int) -> str:
        """What is to be solved on so many rows, in words."""
        count = min(rows, self.get("landmarks" if self.keeps_rows else "pairs") or rows)
        of = f" of {rows:,}" if count < rows else ""
        return f"{self.summary}: {count:,}{of} {'centres' if self.keeps_rows else 'rows'}"

    def accepts_euclidean(self) -> bool:
        """Whether these options do without local metrics."""
        return not self.needs_metric

    @model_serializer(mode="wrap")
    def _control_last(self, fields: SerializerFunctionWrapHandler) -> dict[str, Any]:
        plain: dict[str, Any] = fields(self) | self._foreign
        # Fields of the base come first, but a control is read after the method's own options.
        return plain | ({"shuffle": plain.pop("shuffle")} if "shuffle" in plain else {})

    @property
    def label(self) -> str:
        return self.method + ("+nearest" if self.landing == "nearest" else "")


class Affine(Stitch):
    summary = "ridge regression"
    defaults: ClassVar = {"ridge": "auto"}

    method: Literal["affine"] = "affine"  # the method of a recipe that names none
    ridge: Ridge = None
    pairs: Pairs = None


class Diffusion(Stitch):
    """`alignment: closest_points` needs no pairs, and only one side needs a map where the other is a discrete set.

    `interpolation: linear` needs coordinates: 1 (and takes thin-plate splines where activations have more than one
    feature); `nystroem` extends the source map, and goes back by thin-plate spline.
    """

    summary = "Mahalanobis diffusion maps of both clouds, aligned"
    needs_metric = keeps_rows = True
    defaults: ClassVar = {
        "sides": "both",
        "inverse": "aligned",
        "interpolation": "thin_plate",
        "smoothing": 0.0,
        "harmonics": "keep",
        "engine": "torch",
    }

    method: Literal["diffusion"]
    sides: Literal["both", "source"] | None = Field(None, description="a map of both clouds, or of the source's only")
    coordinates: PositiveInt | None = Field(
        None, description="how many; absent: 256, or half the rows where there are fewer than 512"
    )
    neighbours: Literal["grown", "all"] | PositiveInt | None = Field(
        None, description="grown along the graph, all, or k nearest; absent: grown, or all if that is in pieces"
    )
    bandwidth: float | None = Field(None, gt=0, description="kernel epsilon; absent: the 10th neighbour")
    inverse: Literal["aligned", "target"] | None = Field(
        None, description="way back learned from pairs, or from the target's own map"
    )
    interpolation: Literal["nearest", "linear", "thin_plate", "nystroem", "harmonics"] | None = Field(
        None, description="of coordinates at new activations, and back"
    )
    smoothing: Smoothing = None
    harmonics: Literal["keep", "drop"] | None = Field(
        None, description="drop leaves out those of the first 20 coordinates that are functions of earlier ones"
    )
    pairs: Pairs = None
    alignment: Literal["procrustes", "sign", "kabsch", "blocks", "closest_points"] | None = Field(
        None, description="of the two maps; absent: procrustes, or blocks below 4 pairs a coordinate"
    )
    landmarks: Landmarks = None
    engine: Literal["torch", "datafold"] | None = Field(
        None, description="what computes the maps; datafold needs the extra of that name"
    )

    def metric_sides(self) -> tuple[Role, ...]:
        return ("source",) if self.sides == "source" else SIDES

    def accepts_euclidean(self) -> bool:
        return self.neighbours is not None


class LowRank(Stitch):
    summary = "reduced-rank ridge regression (Izenman 1975)"
    defaults: ClassVar = {"ridge": "auto"}

    method: Literal["low_rank"]
    rank: PositiveInt | None = Field(
        None, description="of the map's matrix; absent: the least that keeps 99 % of the ridge prediction's variance"
    )
    ridge: Ridge = None
    pairs: Pairs = None


class Orthogonal(Stitch):
    summary = "Procrustes: rotation, one scale and a shift"

    method: Literal["orthogonal"]
    pairs: Pairs = None


class RBF(Stitch):
    summary = "thin-plate spline"
    keeps_rows = True
    # By hand: 0 would pass through every row, and through its noise.
    defaults: ClassVar = {"smoothing": 1.0}

    method: Literal["rbf"]
    smoothing: Smoothing = None
    landmarks: Landmarks = None


_Methods = Annotated[Affine | Diffusion | LowRank | Orthogonal | RBF, Field(discriminator="method")]
METHODS |= {get_args(one.model_fields["method"].annotation)[0]: one for one in get_args(get_args(_Methods)[0])}
DEFAULT = Affine()


def _named(content: Any) -> Any:
    """A part without `method` is of the default one."""
    return {"method": DEFAULT.method, **content} if isinstance(content, Mapping) else content


AnyStitch = Annotated[_Methods, BeforeValidator(_named)]
"""Any method's options, told apart by `method`."""
