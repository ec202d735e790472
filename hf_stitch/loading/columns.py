"""What stands in the cells of a table, checked: class labels, texts, rows of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hf_stitch.errors import DataError, nearest
from hf_stitch.loading.tables import Table


def labels_of(table: Table, column: str, label2id: Mapping[str, int] | None, where: str) -> tuple[list[int], list[str]]:
    """Class numbers, and the classes' names."""
    from datasets import ClassLabel

    values = list(table.rows[column])
    gaps = sum(value is None or value == "" for value in values)
    if gaps:
        raise DataError(f"{where}: {gaps} of {len(values)} rows have no {column!r}; label them or leave them out")
    feature = table.rows.features[column]
    names = list(feature.names) if isinstance(feature, ClassLabel) else None
    if names and label2id and {n.casefold() for n in names} <= {n.casefold() for n in label2id}:
        values = [names[value] if value >= 0 else value for value in values]  # the numbers may be in another order
        names = None
    if any(isinstance(value, str) for value in values):
        return _named(values, label2id, f"{where}, column {column!r}")
    if not all(isinstance(value, int | float) and float(value).is_integer() for value in values):
        raise DataError(f"{where}: column {column!r} holds {values[0]!r}; expected whole class numbers or names")
    labels = [int(value) for value in values]
    known = names or _by_number(label2id) or [str(i) for i in range(max(labels) + 1)]
    if not 0 <= min(labels) <= max(labels) < len(known):
        odd = next(label for label in labels if not 0 <= label < len(known))
        range_ = f"where the target's classes are 0 to {len(known) - 1}"
        reason = "which marks rows without a label" if odd == -1 else range_
        raise DataError(f"{where}: column {column!r} holds {odd}, {reason}")
    return labels, known


def _named(values: list[Any], label2id: Mapping[str, int] | None, where: str) -> tuple[list[int], list[str]]:
    texts = [str(value) for value in values]
    if label2id is None:
        names = sorted(set(texts))
        return [names.index(text) for text in texts], names
    numbers = {known.casefold(): number for known, number in label2id.items()}
    for text in texts:
        if text.casefold() not in numbers:
            raise DataError(f"{where}: the target has no class {text!r}; {nearest(text, label2id)}")
    return [numbers[text.casefold()] for text in texts], _by_number(label2id) or []


def _by_number(label2id: Mapping[str, int] | None) -> list[str] | None:
    if not label2id:
        return None
    by_number = {number: name for name, number in label2id.items()}
    return [by_number.get(i, str(i)) for i in range(max(by_number) + 1)]


def check_classes(labels: list[int], names: list[str], name: str) -> None:
    if len(set(labels)) == 1:
        what = f"all {len(labels)} samples are of one class, {names[labels[0]]!r} ({labels[0]})"
        raise DataError(f"data.{name}: {what}; expected at least two: take other or more samples")


def text_of(value: Any, name: str, column: str) -> str:
    if not isinstance(value, str):
        raise DataError(f"{name}: expected text in column {column!r}; got {type(value).__name__}")
    if not value.strip():
        raise DataError(f"{name}: column {column!r} is blank; leave the row out")
    return value


def vector_of(value: Any, name: str, column: str) -> np.ndarray:
    try:
        vector = np.atleast_1d(np.asarray(value, dtype=np.float64))
    except (TypeError, ValueError):
        raise DataError(f"{name}: expected numbers in column {column!r}; got {str(value)[:40]!r}") from None
    if not np.isfinite(vector).all():
        raise DataError(f"{name}: column {column!r} has NaN or infinite numbers; leave the row out")
    return vector
