"""What a fit found, as plain data: measures with intervals, the circumstances, and a verdict in words.

`report.json` is this class and nothing more (schema 1). It never holds NaN or infinity: such a value becomes null and a
note says which one it was. Pages, cards and tables are pure functions of it.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import TypeAdapter, ValidationError, field_validator
from pydantic.dataclasses import dataclass

from hf_stitch.errors import ArtifactError, DataError, RecipeError, nearest
from hf_stitch.recipe.public import told
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.report import catalogue
from hf_stitch.report.diagnostics import Diagnostics
from hf_stitch.report.measure import STRICT, Measure, find, ranges_apart
from hf_stitch.report.plain_json import as_plain, part
from hf_stitch.report.verdict.verdict import Verdict
from hf_stitch.runtime.files import write_text

SCHEMA: Final = 1  # raised when a reader of before could no longer read a report


@dataclass(frozen=True, config=STRICT, repr=False)
class Report:
    """Everything that `report.json` holds. Raises pydantic's ValidationError for fields of other names or types."""

    recipe: dict[str, Any]
    fingerprint: str
    environment: dict[str, Any]
    timings: dict[str, float | None]
    memory_peak_bytes: int | None
    parameters: dict[str, Any]
    measures: list[Measure]
    verdict: Verdict
    chosen: dict[str, str] | None = None
    diagnostics: Diagnostics = dataclasses.field(default_factory=Diagnostics)
    notes: list[str] = dataclasses.field(default_factory=list)
    schema: Literal[1] = SCHEMA

    @field_validator("diagnostics", mode="before")
    @classmethod
    def _of_plain(cls, found: Any) -> Any:
        return Diagnostics.from_plain(found) if isinstance(found, Mapping) else found

    def __post_init__(self) -> None:
        notes = list(self.notes)
        for name in ("recipe", "environment", "timings", "parameters"):
            # Past the frozen fields: what is held is what report.json will hold, from the first moment on.
            object.__setattr__(self, name, as_plain(getattr(self, name), name, notes))
        found = as_plain(self.diagnostics.to_plain(), "diagnostics", notes)
        object.__setattr__(self, "diagnostics", Diagnostics.from_plain(found))
        notes += [f"no value: {m.where}, n = {m.n}, is not a finite number" for m in self.measures if m.value is None]
        object.__setattr__(self, "notes", list(dict.fromkeys(notes)))

    def __repr__(self) -> str:
        """In one line: what was measured, and the verdict's code."""
        main = [m for m in self.measures if m.method == self.method and m.split == "test" and m.direction == "forward"]
        told = f", {main[0].name} {main[0].written()}" if main else ""
        return f"<Report {self.name}: {self.method or 'nothing fitted'}{told}, {self.verdict.code}>"

    def __str__(self) -> str:
        """The verdict and all measures."""
        text = f"{self.name}: {self.verdict.text}"
        return "\n".join([text, *([self.verdict.next] if self.verdict.next else []), "", self.table()])

    def _repr_html_(self) -> str:
        """What notebooks show."""
        from hf_stitch.report.rendering.notebook import notebook_html

        notes = len(self.warnings) + len(self.further_notes)
        return notebook_html(self.name, self.method, self.verdict, self.measures, notes)

    def to_pandas(self) -> Any:
        """The measures as a pandas DataFrame: a row each, with the fields of `Measure` as columns; None is missing."""
        import pandas

        names = [field.name for field in dataclasses.fields(Measure)]
        frame = pandas.DataFrame([dataclasses.asdict(m) for m in self.measures], columns=names)
        numbers = ("value", "low", "high", "range_low", "range_high")
        return frame.astype({**dict.fromkeys(numbers, "float64"), "n": "Int64"})

    @property
    def name(self) -> str:
        """The recipe's name."""
        return str(self.recipe.get("name") or "stitched")

    @property
    def seconds(self) -> float | None:
        """Total time: the stage `total` where there is one, else the sum."""
        known = [value for value in self.timings.values() if value is not None]
        return self.timings.get("total") or (sum(known) if known else None)

    @property
    def warnings(self) -> list[str]:
        """Warnings of the run and of every fit, each once."""
        return self.diagnostics.all_warnings(self.method)

    @property
    def further_notes(self) -> list[str]:
        """Notes that are not among the warnings already."""
        known = set(self.warnings)
        return [text for text in self.notes if text not in known]

    @functools.cached_property
    def method(self) -> str | None:
        """Label of the method that was saved: the recipe's own; `chosen` names the best one on validation."""
        measured = [m.method for m in self.measures if m.method not in catalogue.REFERENCES]
        try:
            own: str | None = Recipe.parse(self.recipe).label
        except RecipeError:  # written by another version, or by hand
            own = self.chosen["method"] if self.chosen else None
        return own if own in measured else next(iter(measured), own)

    def measure(self, name: str, method: str | None = None, split: str = "test", direction: str = "forward") -> Measure:
        """One measure; `method` None is the saved one. Raises DataError naming the nearest that exist."""
        method = method or self.method
        found = find(self.measures, name, method, split, direction)
        if found is None:
            known = {m.where for m in self.measures}
            wanted = f"{name} of {method} on {split} ({direction})"
            raise DataError(f"expected a measure of the report, received {wanted!r}; {nearest(wanted, known)}")
        return found

    def value(
        self, name: str, method: str | None = None, split: str = "test", direction: str = "forward"
    ) -> float | None:
        """The number of one measure (None where it was not finite); see `measure`."""
        return self.measure(name, method, split, direction).value

    def table(self) -> str:
        """All measures as a plain text table, the saved method marked with a star."""
        ranges = any(m.range for m in self.measures)
        spread = "[95 % interval] (range of members)" if ranges else "[95 % interval]"
        head = ("measure", "method", "split", "value", spread, "n")
        rows = [head, *(self._row(m) for m in self.measures)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        rows.insert(1, tuple("-" * width for width in widths))
        return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)

    def _row(self, m: Measure) -> tuple[str, ...]:
        star = " *" if m.method == self.method else ""
        split = m.split if m.direction == "forward" else f"{m.split} ({m.direction})"
        return m.name, m.method + star, split, m.write(m.value), m.spread(), "" if m.n is None else str(m.n)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-able data, `schema` first."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        fields |= {
            "measures": [m.to_plain() for m in self.measures],
            "verdict": dataclasses.asdict(self.verdict),
            "diagnostics": self.diagnostics.to_plain(),
        }
        return copy.deepcopy({"schema": fields.pop("schema"), **fields})

    def public(self, names: Mapping[str, str]) -> Report:
        """The same report, with the public `names` of models and data in place of paths of this machine."""
        own = self.to_dict()
        public = told(own, names)
        return self if public == own else Report.from_dict(public)

    def to_json(self) -> str:
        # allow_nan: NaN is no JSON; none is left here, and one that were should fail.
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def save(self, path: str | Path) -> None:
        """Write the JSON file in one step: a reader sees the old file or the new one, never half of it."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, self.to_json())

    @classmethod
    def load(cls, path: str | Path) -> Report:
        """Read a report. Raises ArtifactError when it is missing, truncated, of another schema, or not a report."""
        path = Path(path)
        if path.is_dir():
            path = path / "report.json"
        try:
            plain = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            why = error.strerror
            raise ArtifactError(f"expected a report at {path}, received {why}; fit or evaluate first") from error
        except ValueError as error:
            what = f"a truncated or foreign file ({error})"
            raise ArtifactError(f"expected JSON in {path}, received {what}; fit again") from error
        return cls.from_dict(plain, str(path))

    @classmethod
    def from_dict(cls, plain: Any, origin: str = "report") -> Report:
        """Build a report from JSON data; `origin` names it in errors (ArtifactError)."""
        schema = plain.get("schema") if isinstance(plain, dict) else None
        if schema != SCHEMA:
            advice = "use the version of hf_stitch that wrote it, or fit again"
            raise ArtifactError(f"expected schema {SCHEMA} in {origin}, received {schema!r}; {advice}")
        if isinstance(measures := plain.get("measures"), list):
            plain = {**plain, "measures": ranges_apart(measures, part(plain, "diagnostics", "fits"))}
        try:
            return TypeAdapter(cls).validate_python(plain)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            what = f"{error.error_count()} faults, the first at {place!r}: {first['msg']}"
            raise ArtifactError(f"expected a report in {origin}, received {what}; fit again") from error
