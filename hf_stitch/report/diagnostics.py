"""What a report knows beside its measures: one field for each kind of finding, plain JSON data, None where absent."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hf_stitch.recipe.side import SIDES
from hf_stitch.report.plain_json import part, texts


@dataclass(frozen=True)
class Diagnostics:
    """Findings of a run, each filled by one function; sections of the page name those that they show in `READS`.

    To add a kind of finding, add its field here: `report.json` and every reader follow. Fields stand in the order in
    which they are written.
    """

    fits: dict[str, Any] | None = None
    """By label what the layer found: coordinates, eigenvalues and residuals of both sides, alignment, warnings."""
    licences: dict[str, Any] | None = None
    """`{source, target}`: licence of each base model, null where unknown."""
    task: str | None = None
    """The Hub's name of what the stitched model does."""
    usage: dict[str, Any] | None = None
    """`{takes, pipeline, width, rate}`: kind of the input, name of the pipeline that answers, measures of the input;
    empty where the input alone is not enough for an answer."""
    warnings: list[Any] | None = None
    """Warnings of the run as texts; those of single fits stand in `fits`."""
    trust: dict[str, Any] | None = None
    """How the trust gauge was calibrated: samples, ingredients, on which split."""
    jacobian: dict[str, Any] | None = None
    """Condition numbers `{source | map | target: {...}}` over a grid of inputs, or `{rows: {...}}` at activations."""
    error_by_class: dict[str, Any] | None = None
    """`{class: {value, low, high, n}}`: share of other answers than the target's."""
    error_by_length: dict[str, Any] | None = None
    """The same by length of the source."""
    confusion: dict[str, Any] | None = None
    """`{target's answer: {stitched answer: samples}}` of the test, for classes."""
    wrong: list[Any] | None = None
    """Names of the test samples that are answered otherwise."""
    failures: dict[str, Any] | None = None
    """`{failing, of, samples: [{sample, inputs, answers, expected, error}]}`: the worst few of the test, as they are.
    See `hf_stitch.evaluation.failures`."""
    written: dict[str, Any] | None = None
    """`{samples, rows: {title: texts}}`: texts generated for some test samples."""
    risk_coverage: dict[str, Any] | None = None
    """`{coverage, risk}`: error of the most trusted share of the test."""
    error_by_distance: list[Any] | None = None
    """Bins `{from, median, to, value, low, high, n}` of the distance from what was fitted."""
    pictures: dict[str, Any] | None = None
    """`{direction: {shape, samples, rows: {title: base64 of grey levels}}}`."""
    colour: list[Any] | None = None
    """A number of each sample of the fit by which its point is coloured."""
    other: dict[str, Any] = dataclasses.field(default_factory=dict)
    """What a report of another version holds beside these, or in another shape; kept as it is."""

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Diagnostics:
        """Of JSON data; keys that are no fields, and values of another type than the field's, are kept in `other`."""
        kinds = _kinds()
        known: dict[str, Any] = {name: plain[name] for name in kinds if isinstance(plain.get(name), kinds[name])}
        return cls(**known, other={str(key): value for key, value in plain.items() if key not in known})

    def to_plain(self) -> dict[str, Any]:
        """JSON data without what is absent; `from_plain` of it gives an equal value."""
        found = {name: getattr(self, name) for name in _kinds()}
        return {name: value for name, value in found.items() if value is not None} | self.other

    def __getitem__(self, name: str) -> Any:
        """A finding by its name in `report.json`, as a report of 0.1.0 had it. Raises KeyError where it is absent."""
        return self.to_plain()[name]

    def __contains__(self, name: object) -> bool:
        return name in self.to_plain()

    def clouds(self, method: str | None) -> tuple[str, dict[str, dict[str, Any]]]:
        """Label and sides of the diffusion maps to show: those of `method`, else of the first that has any."""
        for label in sorted(part(self.fits), key=lambda label: label != method):
            fit = part(self.fits, label)
            sides: dict[str, dict[str, Any]]
            sides = {side: {**part(fit, "neighbourhoods", side), **part(fit, side)} for side in SIDES}
            if any("eigenvalues" in facts for facts in sides.values()):
                return label, sides
        return "", {side: {} for side in SIDES}

    def all_warnings(self, method: str | None) -> list[str]:
        """Warnings of the run and of every fit, each once; those of methods other than `method` carry their label."""
        found = texts(self.warnings)
        for label in part(self.fits):
            prefix = "" if label == method else f"{label}: "
            found += [prefix + text for text in texts(part(self.fits, label).get("warnings"))]
        return list(dict.fromkeys(found))


@functools.cache
def _kinds() -> dict[str, type]:
    """The type of each field that stands for a kind of finding, without what it holds."""
    hints = typing.get_type_hints(Diagnostics)
    own = {name: typing.get_args(hint)[0] for name, hint in hints.items() if name != "other"}
    return {name: typing.get_origin(kind) or kind for name, kind in own.items()}
