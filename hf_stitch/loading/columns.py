"""What stands in the cells of a table, checked: class labels, texts, rows of numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hf_stitch.errors import DataError, nearest
from hf_stitch.loading.tables import Table

SHOWN = 12  # classes that a note names; by hand, as many as an error does


@dataclass(frozen=True)
class Labels:
    """Class numbers as the target has them, the classes' names by number, and how they were read where that is open."""

    numbers: list[int]
    names: list[str]
    note: str | None = None


def labels_of(
    table: Table, column: str, label2id: Mapping[str, int] | None, where: str, classes: int | None = None
) -> Labels:
    """The class of each row, by name wherever the column's names are among the target's.

    Args:
        label2id: the target's classes; None where it names none.
        classes: how many it tells apart, where that is known.

    Raises:
        DataError: rows without a label or of a class that the target has not, or a column that holds no classes.
    """
    from datasets import ClassLabel

    values = list(table.rows[column])
    gaps = sum(value is None or value == "" for value in values)
    if gaps:
        raise DataError(f"{where}: {gaps} of {len(values)} rows have no {column!r}; label them or leave them out")
    feature, where = table.rows.features[column], f"{where}: column {column!r}"
    listed = list(feature.names) if isinstance(feature, ClassLabel) else None
    texts = any(isinstance(value, str) for value in values)
    if not texts and not all(isinstance(value, int | float) and float(value).is_integer() for value in values):
        raise DataError(f"{where} holds {values[0]!r}; expected whole class numbers or names")
    if listed is not None:
        _check_range(values, listed, where, None)
    named = [listed[value] if listed else _written(value) for value in values]
    find = _finder(label2id or {})
    if label2id and (texts or any(find(name) is not None for name in listed or set(named))):
        return Labels(_by_name(named, find, label2id, where), _by_number(label2id))
    if texts:
        names = sorted(set(named))
        # With one missing, numbers by name would be others than where all are there.
        if classes is not None and len(names) != classes:
            raise DataError(
                f"{where} names {len(names)} of the target's {classes} classes ({', '.join(names[:SHOWN])}), which the "
                "target itself does not name: give their numbers as it has them, or its names (id2label of its config)"
            )
        return Labels([names.index(name) for name in named], names, _taken(names, None))
    numbers = [int(value) for value in values]
    count = max(numbers) + 1 if classes is None else classes
    names = _by_number(label2id) if label2id else (listed or [])[:count] or [str(i) for i in range(count)]
    _check_range(numbers, names, where, listed)
    own = listed or (["False", "True"] if isinstance(values[0], bool) else None)
    return Labels(numbers, names, None if own is None else _taken(own, names if label2id else None))


def _written(value: Any) -> str:
    """How a cell would be named: 1.0 is 1."""
    return str(value) if isinstance(value, str | bool) else str(int(value))


def _finder(label2id: Mapping[str, int]) -> Callable[[str], int | None]:
    """The number of a class by its name: as it is, else in any case of letters, else with leading zeros."""
    ways: tuple[Callable[[str], str], ...] = (str, str.casefold, _numeral)
    tables = []
    for way in ways:
        counts = Counter(map(way, label2id))
        tables.append({way(name): number for name, number in label2id.items() if counts[way(name)] == 1})

    def find(name: str) -> int | None:
        return next((known[way(name)] for way, known in zip(ways, tables) if way(name) in known), None)

    return find


def _numeral(name: str) -> str:
    return str(int(name)) if re.fullmatch(r"[+-]?[0-9]+", name) else name


def _by_name(
    named: Sequence[str], find: Callable[[str], int | None], label2id: Mapping[str, int], where: str
) -> list[int]:
    numbers = {name: find(name) for name in dict.fromkeys(named)}
    for name, number in numbers.items():
        if number is None:
            todo = f"rename the {named.count(name)} rows of it or leave them out"
            raise DataError(f"{where}: the target has no class {name!r}; {nearest(name, label2id)}; {todo}")
    return [number for name in named if (number := numbers[name]) is not None]


def _by_number(label2id: Mapping[str, int]) -> list[str]:
    by_number = {number: name for name, number in label2id.items()}
    return [by_number.get(i, str(i)) for i in range(max(by_number) + 1)]


def _check_range(numbers: Sequence[int], names: Sequence[str], where: str, listed: Sequence[str] | None) -> None:
    odd = next((number for number in numbers if not 0 <= number < len(names)), None)
    if odd is None:
        return
    called = f" ({listed[odd]!r})" if listed and odd >= 0 else ""
    range_ = f"where the target's classes are 0 to {len(names) - 1}"
    reason = "which marks rows without a label" if odd == -1 else range_
    raise DataError(f"{where} holds {odd}{called}, {reason}; leave such rows out")


def _taken(names: Sequence[str], target: Sequence[str] | None) -> str:
    """A note that says in which order classes were read."""
    if target is None:
        order, what = [f"{i}: {name}" for i, name in enumerate(names)], "the target names no classes"
        what = f"{what}; those of the data are taken as"
    else:
        order = [f"{name} as {other}" for name, other in zip(names, target)]
        what = "no class of the data is one of the target's by name; taken by number,"
    return f"{what} {', '.join(order[:SHOWN])}{', ...' if len(order) > SHOWN else ''}"


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
