"""Rows of a comparison that are finished: written one by one, taken up by a fit that was stopped before its end."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hf_stitch.errors import ArtifactError
from hf_stitch.recipe.digest import digest
from hf_stitch.recipe.side import Direction
from hf_stitch.report.measure import Measure
from hf_stitch.runtime.files import report_full_disk, write_text
from hf_stitch.runtime.runtime import Runtime

FILE = "comparison.jsonl"


@dataclass(frozen=True)
class Row:
    """What is kept of one fitted variant: plain data throughout.

    Attributes:
        fit: what the fit found on the way.
        seconds: of all of it; timings: of its stages.
        errors: of each sample of validation; None where there are none.
        saved: of the model that is saved, which is in the folder itself: what is known of its trust gauge.
    """

    label: str
    measures: list[Measure]
    fit: dict[str, Any]
    seconds: float
    timings: dict[str, float]
    direction: Direction = "forward"
    errors: np.ndarray | None = None
    pictures: dict[str, Any] | None = None
    saved: dict[str, Any] | None = None

    @property
    def title(self) -> str:
        return self.label + (" (backward)" if self.direction == "backward" else "")

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Row:
        errors = plain["errors"]
        found = {
            "measures": [Measure(**measure) for measure in plain["measures"]],
            "errors": None if errors is None else np.array(errors["values"], dtype=errors["dtype"]),
        }
        return cls(**{**plain, **found})

    def to_plain(self) -> dict[str, Any]:
        errors = self.errors
        found = {
            "measures": [measure.to_plain() for measure in self.measures],
            "errors": None if errors is None else {"dtype": str(errors.dtype), "values": errors.tolist()},
        }
        plain = {one.name: getattr(self, one.name) for one in fields(self)} | found
        # As JSON holds it: NaN and infinity stay, which the report notes when it leaves them out.
        return json.loads(json.dumps(plain, default=_plain))


class FinishedRows:
    """The finished rows of one fit, in a file of the folder that it writes; none without a folder.

    Args:
        made_of: what the rows depend on; those of anything else are not taken up.
        unsure: labels of variants of which that is not known, and whose rows are not taken up either.
    """

    def __init__(self, folder: Path | None, made_of: Any, runtime: Runtime, unsure: Collection[str] = ()) -> None:
        self.path = None if folder is None else folder / FILE
        self.made_of, self.runtime, self.unsure = digest(made_of), runtime, unsure
        self._rows = {(row.label, row.direction): row for row in self._read()}

    def get(self, label: str, direction: Direction = "forward") -> Row | None:
        """A row that is finished; None of one that is not."""
        return None if label in self.unsure else self._rows.get((label, direction))

    def add(self, row: Row) -> None:
        """Write a row beside the others, in one step."""
        self._rows[row.label, row.direction] = row
        if self.path is not None and self.runtime.is_main:
            full = f"no space left for {self.path.parent}: free some and run again; what was done is kept"
            with report_full_disk(ArtifactError(full)):
                write_text(self.path, "".join(map(self._line, self._rows.values())))

    def clear(self) -> None:
        """Delete the file, once the report holds them all."""
        if self.path is not None and self.runtime.is_main:
            self.path.unlink(missing_ok=True)

    def _line(self, row: Row) -> str:
        plain = row.to_plain()
        return json.dumps({"row": plain, "of": self.made_of, "digest": digest(plain)}) + "\n"

    def _read(self) -> list[Row]:
        """The rows that the first process sees, whose folder need not be that of the others."""
        try:
            content = self.path.read_bytes() if self.path is not None and self.runtime.is_main else b""
        except OSError:
            content = b""
        said = torch.from_numpy(np.frombuffer(content, dtype=np.uint8).copy())
        heard = b"".join(bytes(part.tolist()) for part in self.runtime.rows.everyone(said))
        found = (self._row(line) for line in heard.splitlines())
        return [row for row in found if row is not None]

    def _row(self, line: bytes) -> Row | None:
        """None of a line that is damaged, or of another run."""
        try:
            held = json.loads(line)
            if held["of"] != self.made_of or held["digest"] != digest(held["row"]):
                return None
            return Row.from_plain(held["row"])
        except (ValueError, TypeError, KeyError):
            return None


def _plain(value: Any) -> Any:
    """What JSON does not know as `report.plain_json` would have it; numbers that are not finite stay what they are."""
    return value.tolist() if hasattr(value, "tolist") else os.fspath(value)
