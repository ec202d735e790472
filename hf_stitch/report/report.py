"""What a fit found, as plain data: measures with intervals, the circumstances, and a verdict in words.

`report.json` is this class and nothing more (schema 1). It never holds NaN or infinity: such a value becomes null and a
note says which one it was. Pages, cards and tables are pure functions of it.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import os
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from hf_stitch.errors import ArtifactError, DataError, RecipeError, nearest
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.report.measure import REFERENCES, STRICT, Measure, find
from hf_stitch.report.verdict.verdict import Verdict
from hf_stitch.runtime.files import write_text

SCHEMA: Final = 1


@dataclass(frozen=True, config=STRICT)
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
    diagnostics: dict[str, Any] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)
    schema: Literal[1] = SCHEMA

    def __post_init__(self) -> None:
        notes = list(self.notes)
        for name in ("recipe", "environment", "timings", "parameters", "diagnostics"):
            object.__setattr__(self, name, _plain(getattr(self, name), name, notes))
        notes += [f"no value: {m.where}, n = {m.n}, is not a finite number" for m in self.measures if m.value is None]
        object.__setattr__(self, "notes", list(dict.fromkeys(notes)))

    @property
    def name(self) -> str:
        """The recipe's name."""
        return str(self.recipe.get("name") or "stitched")

    @functools.cached_property
    def method(self) -> str | None:
        """Label of the method that was saved: the recipe's own; `chosen` names the best one on validation."""
        measured = [m.method for m in self.measures if m.method not in REFERENCES]
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
        head = ("measure", "method", "split", "value", "95 % interval", "n")
        rows = [head, *(self._row(m) for m in self.measures)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        rows.insert(1, tuple("-" * width for width in widths))
        return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)

    def _row(self, m: Measure) -> tuple[str, ...]:
        star = " *" if m.method == self.method else ""
        split = m.split if m.direction == "forward" else f"{m.split} ({m.direction})"
        span = f"{m.write(m.low)} .. {m.write(m.high)}" if m.low is not None or m.high is not None else ""
        return m.name, m.method + star, split, m.write(m.value), span, "" if m.n is None else str(m.n)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-able data, `schema` first."""
        plain = dataclasses.asdict(self)
        return {"schema": plain.pop("schema"), **plain}

    def to_json(self) -> str:
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
        try:
            return TypeAdapter(cls).validate_python(plain)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            what = f"{error.error_count()} faults, the first at {place!r}: {first['msg']}"
            raise ArtifactError(f"expected a report in {origin}, received {what}; fit again") from error


def _plain(value: Any, path: str, notes: list[str]) -> Any:
    """Plain JSON data of nested containers, numpy or torch values; what is not finite becomes null, with a note."""
    if isinstance(value, dict):
        return {str(key): _plain(item, f"{path}.{key}", notes) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, path, notes) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist(), path, notes)
    if isinstance(value, float) and not math.isfinite(value):
        notes.append(f"no value: {path} held {value}")
        return None
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"expected JSON-able data at {path}, received {type(value).__name__}; convert it before the report")
