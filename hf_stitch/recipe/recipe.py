"""The recipe: what was asked, as plain data from YAML. No torch here.

Unknown keys and values are refused with the nearest known one; `key=value` overrides reach any nested key; the
fingerprint is a hash of the resolved recipe, so that two spellings of the same request share their work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from hf_stitch.errors import RecipeError, nearest
from hf_stitch.recipe.collect import Collect
from hf_stitch.recipe.data import Splits
from hf_stitch.recipe.digest import digest
from hf_stitch.recipe.explain import cut, explain
from hf_stitch.recipe.generation import Generation
from hf_stitch.recipe.neighborhoods import Neighborhoods
from hf_stitch.recipe.overrides import apply_overrides, merge
from hf_stitch.recipe.part import Part
from hf_stitch.recipe.plain import check_plain, read_yaml
from hf_stitch.recipe.rehearse import Rehearse
from hf_stitch.recipe.sequence import RULES, Lengths
from hf_stitch.recipe.shipped import find
from hf_stitch.recipe.side import Side
from hf_stitch.recipe.stitch import DEFAULT, METHODS, AnyStitch

FORMAT = 1  # raised when the meaning of a recipe key changes: old caches and outputs are then not reused


Compare = str | dict[str, Any]


class Recipe(Part):
    """What was asked: two hook points, data, and how to map one into the other."""

    name: str = Field("", description="absent: the file's name")
    description: str = Field("", description="one line for the report")
    source: Side = Field(description="the model whose first half runs")
    target: Side = Field(description="the model whose second half runs")
    data: Splits = Field(description="the samples")
    collect: Collect = Field(Collect(), description="of activations")
    neighborhoods: Neighborhoods = Field(Neighborhoods(), description="for diffusion")
    sequence: Lengths = Field(Lengths(), description="lengths")
    stitch: AnyStitch = Field(DEFAULT, description="the map")
    generation: Generation = Field(Generation(), description="how a target that writes text does so")
    trust: Literal["none", "distance", "cycle"] = Field(
        "distance", description="score each input by its distance from the fit; cycle: and by the way there and back"
    )
    directions: Literal["forward", "both"] = Field("forward", description="both: measured from target to source too")
    compare: list[Compare] = Field([], description="method names such as rbf+nearest, or `name:` with overrides")
    # From 0, as NumPy has them, and below what torch takes: others would end a fit in the middle.
    seed: int = Field(0, ge=0, lt=2**63, description="of every draw")
    save: Literal["full", "map"] = Field(
        "full", description="all that runs; or the map alone, the halves then come from their own checkpoints"
    )
    rehearse: Rehearse = Field(Rehearse(), description="for fit --rehearse")

    # What no single part can know: faults that would else show only after hours of collecting.
    @model_validator(mode="after")
    def _parts_fit_together(self) -> Recipe:
        if self.sequence.fill != "predict" and self.target.features == "all":
            raise ValueError(
                f"sequence.fill: {self.sequence.fill} fills target features that were not selected; got "
                "target.features: all: select some, such as {every: 4}, or leave fill out"
            )
        if self.trust == "cycle" and self.data.validation is None:
            raise ValueError("trust: cycle needs data.validation: a map comes back too well from where it was fitted")
        if self.neighborhoods.kind == "none" and not self.stitch.accepts_euclidean():
            raise ValueError(
                f"stitch.method: {self.stitch.method} needs neighborhoods of kind gaussian or jacobian; got none"
            )
        for side in self.stitch.metric_sides() if self.neighborhoods.kind == "given" else ():
            columns = self.data.fit.columns
            if columns.neighbours is None and getattr(columns, f"{side}_neighbours") is None:
                what = f"data.fit.columns.{side}_neighbours, or neighbours with ids"
                raise ValueError(f"neighborhoods.kind: given needs {what}; it is missing")
        return self

    @classmethod
    def load(cls, path_or_name: str | Path, overrides: Sequence[str] = ()) -> Recipe:
        """Read a recipe from a file or by the name of a shipped one, with `key=value` overrides.

        Raises:
            RecipeError: unknown recipe, key, value or override; every offender is listed at once.
        """
        path = find(path_or_name)
        try:
            content = read_yaml(path.read_text(encoding="utf-8"))
        except UnicodeDecodeError:
            raise RecipeError(f"{path} is not YAML: not text in UTF-8; save it as that") from None
        except RecipeError as error:
            raise RecipeError(f"{path}: {error}") from None
        if not isinstance(content, dict):
            raise RecipeError(f"{path}: expected a mapping of recipe keys, got {type(content).__name__}")
        content.setdefault("name", path.stem)
        return cls.parse(content, overrides)

    @classmethod
    def of(cls, given: Recipe | Mapping[str, Any] | str | Path, overrides: Sequence[str] = ()) -> Recipe:
        """A recipe from whatever stands for one: itself, plain data, a file's path or a shipped name.

        Raises:
            RecipeError: it stands for none, or what `load` and `parse` raise.
        """
        if isinstance(given, Recipe):
            return cls.parse(given.plain(), overrides) if overrides else given
        if isinstance(given, Mapping):
            return cls.parse(given, overrides)
        if isinstance(given, str | Path):
            return cls.load(given, overrides)
        kind = type(given).__name__
        raise RecipeError(f"a recipe is a Recipe, a mapping, a path or a shipped name; got {kind}: {cut(given)}")

    @classmethod
    def parse(cls, content: Mapping[str, Any], overrides: Sequence[str] = ()) -> Recipe:
        """Build a recipe from plain data, with `key=value` overrides; RecipeError lists every offender."""
        check_plain(content)
        if overrides:
            content = apply_overrides(_without_foreign_options(content, overrides), overrides)
            check_plain(content)
        recipe = cls._read(content)
        recipe.stitch.refuse_foreign()
        recipe.variants()  # a wrong `compare` entry is refused now, not after the fit
        return recipe

    @classmethod
    def _read(cls, content: Mapping[str, Any]) -> Recipe:
        try:
            return cls.model_validate(dict(content))
        except ValidationError as error:
            raise RecipeError(explain(error, cls)) from None

    def plain(self) -> dict[str, Any]:
        """The recipe as plain data, defaults left out, as a person would write it."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)

    def complete(self) -> dict[str, Any]:
        """The recipe as plain data with its defaults, without name and comparisons: what one variant is."""
        return self.model_dump(mode="json", by_alias=True, exclude={"name", "description", "compare"})

    def dump(self) -> str:
        """The recipe as YAML; `Recipe.parse(yaml.safe_load(recipe.dump()))` equals the recipe."""
        return yaml.safe_dump(self.plain(), sort_keys=False, allow_unicode=True, width=120)

    def fingerprint(self) -> str:
        """Hex digest of what is computed: the name and description do not matter, defaults and order neither."""
        asked = {key: value for key, value in self.plain().items() if key not in ("name", "description", "rehearse")}
        return digest({"format": FORMAT, **asked})  # without defaults: a key that is new changes no older recipe

    @property
    def label(self) -> str:
        """Name of the fitted method in the report, such as `rbf+nearest`."""
        return self.stitch.label + ("@oracle" if self.sequence.target_length == "oracle" else "")

    def observed_alike(self, other: Recipe) -> bool:
        """Whether both are about the same models and data, collected in the same way."""
        own, asked = ((one.source, one.target, one.data, one.collect) for one in (self, other))
        return own == asked

    def variants(self) -> list[tuple[str, Recipe]]:
        """The recipe itself and each entry of `compare`, as (label, recipe without compare)."""
        alone = self.model_copy(update={"compare": []})
        # An override such as stitch.method=affine may make the recipe itself one of its comparisons.
        others = [entry for entry in self.compare if entry != self.label]
        found = [(self.label, alone)] + [_variant(entry, alone) for entry in others]
        labels = [label for label, _ in found]
        twice = sorted({label for label in labels if labels.count(label) > 1})
        if twice:
            raise RecipeError(f"compare: {', '.join(twice)} occurs more than once; give one of them another `name:`")
        return found


def _variant(entry: Compare, base: Recipe) -> tuple[str, Recipe]:
    """One `compare` entry: `affine`, `rbf+nearest`, or a mapping with `name:` and overrides of any part."""
    changes: dict[str, Any] = {"name": entry} if isinstance(entry, str) else dict(entry)
    name = changes.pop("name", None)
    if not isinstance(name, str):
        raise RecipeError(f"compare: each entry is a method name or a mapping with `name:`; got {entry!r}")
    if isinstance(entry, str):
        try:
            changes["stitch"] = method_of(entry)
        except RecipeError as error:
            raise RecipeError(f"compare: {error}; or give `name:` with overrides") from None
    own = {**base.plain(), "sequence": _kept_for(changes.get("sequence"), base.plain().get("sequence", {}))}
    content = merge(own, {key: value for key, value in changes.items() if key != "stitch"})
    stitch: Any = changes.get("stitch", {})
    # Options of one method mean nothing to another, so a change of method starts from that method's defaults.
    same = isinstance(stitch, dict) and stitch.get("method", base.stitch.method) == base.stitch.method
    content["stitch"] = merge(base.plain().get("stitch", {}), stitch) if same and not isinstance(entry, str) else stitch
    content["compare"] = []
    try:
        recipe = Recipe._read(content)  # an option of another method is refused, and noted, when it is fitted
    except RecipeError as error:
        raise RecipeError(f"compare: {name}: {str(error).removeprefix('recipe: ')}") from None
    oracle = recipe.sequence.target_length == "oracle" and "@" not in name
    return name + ("@oracle" if oracle else ""), recipe


def _without_foreign_options(content: Mapping[str, Any], overrides: Sequence[str]) -> Mapping[str, Any]:
    """Leave out the file's options of another method or length rule than the one that an override asks for."""
    stitch, sequence = content.get("stitch"), content.get("sequence")
    asked = apply_overrides({}, overrides)
    if isinstance(sequence, Mapping):
        content = {**content, "sequence": _kept_for(asked.get("sequence"), sequence)}
    wanted = asked.get("stitch")
    if not isinstance(stitch, Mapping) or not isinstance(wanted, Mapping):
        return content
    if wanted.get("method", stitch.get("method")) == stitch.get("method"):
        return content
    return {**content, "stitch": {key: value for key, value in stitch.items() if key == "landing"}}


def _kept_for(asked: Any, sequence: Mapping[str, Any]) -> Mapping[str, Any]:
    """The `sequence` part without what a newly asked length rule does not take."""
    rule = asked.get("length") if isinstance(asked, Mapping) else None
    if not isinstance(rule, str) or rule not in RULES:  # none, or what the schema will refuse
        return sequence
    return {key: value for key, value in sequence.items() if RULES[rule].takes(key, value)}


def method_of(label: str) -> dict[str, str]:
    """The part `stitch` of a method by its label, such as `rbf+nearest`. RecipeError for an unknown one."""
    method, _, landing = label.partition("+")
    if method not in METHODS or landing not in ("", "nearest"):
        known = [m + end for m in METHODS for end in ("", "+nearest")]
        raise RecipeError(f"unknown method {label!r}; {nearest(label, known)}")
    return {"method": method, "landing": landing or "none"}
