"""Rows one by one of whatever holds or yields them: lists, columns, DataFrames, torch Datasets, generators, streams.

Whatever the user's own code raises is told with the number of the row.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from hf_stitch.errors import DataError, StitchError

MOST = 100_000
"""Rows of a stream of which nobody says how many are wanted: one that has more is refused, for it may have no end."""
TAKEN = (
    "a datasets.Dataset or IterableDataset, a torch Dataset, a list of dicts, a dict of columns, a pandas DataFrame, "
    "or a generator function that yields dicts"
)
_END = object()


def taken(rows: Iterator[Any], where: str, samples: int | None) -> Iterator[Any]:
    """The first rows of a stream."""
    yield from islice(rows, MOST if samples is None else samples)
    if samples is None and next(rows, _END) is not _END:
        raise DataError(
            f"{where}: a stream of more than {MOST:,} rows, which may have no end; give as many as are "
            "wanted, such as stream.take(1000)"
        )


def items_of(data: Any, where: str, samples: int | None) -> Iterator[Any]:
    """Rows as they come of whatever holds or yields rows."""
    from torch.utils import data as torch_data

    if isinstance(data, torch_data.DataLoader):
        raise DataError(f"{where}: a DataLoader gives batches; give its dataset (loader.dataset)")
    if isinstance(data, torch_data.Dataset) and not isinstance(data, torch_data.IterableDataset):
        return told(_by_number(data, samples), where)
    if isinstance(data, list | tuple):
        return told(iter(data if samples is None else data[:samples]), where)
    if isinstance(data, str | bytes | range) or not (callable(data) or isinstance(data, Iterable)):
        raise DataError(f"{where}: got {_named(data)}; expected {TAKEN}")
    if isinstance(data, Mapping):
        raise DataError(f"{where}: got {_named(data)} with {', '.join(map(repr, data))}; give one of its splits")
    rows = _called(data, where) if callable(data) and not isinstance(data, Iterable) else data
    return taken(told(iter(rows), where), where, samples)


def _called(function: Callable[[], Any], where: str) -> Iterable[Any]:
    try:
        rows = function()
    except Exception as error:
        why = f"the generator function cannot be called without arguments ({_why(error)})"
        raise DataError(f"{where}: {why}") from error
    if not isinstance(rows, Iterable) or isinstance(rows, str | bytes | Mapping):
        raise DataError(f"{where}: the function gave {_named(rows)}; expected one that yields dicts")
    return rows


def _by_number(data: Any, samples: int | None) -> Iterator[Any]:
    """Rows of a map-style Dataset; one without a length ends as sequences do."""
    count = len(data) if hasattr(data, "__len__") else None
    number = 0
    while number != count and number != samples:
        try:
            row = data[number]
        except IndexError:
            if count is None:
                return
            raise
        yield row
        number += 1


def told(rows: Iterator[Any], where: str) -> Iterator[Any]:
    """The same rows; what the user's own code raises is told with the number of the row."""
    number = 0
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except StitchError:
            raise
        except Exception as error:
            why = f"row {number} cannot be read ({_why(error)})"
            raise DataError(f"{where}: {why}; mend it, or leave it out") from error
        yield row
        number += 1


def mappings(rows: Iterator[Any], where: str) -> Iterator[Mapping[Any, Any]]:
    """Rows as mappings; of two values the first is `input`, the second `label`."""
    for number, row in enumerate(rows):
        if isinstance(row, Mapping):
            yield row
        elif dataclasses.is_dataclass(row) and not isinstance(row, type):
            yield {one.name: getattr(row, one.name) for one in dataclasses.fields(row)}
        elif isinstance(row, tuple) and hasattr(row, "_asdict"):
            yield row._asdict()
        elif isinstance(row, tuple | list) and len(row) == 2:
            yield {"input": row[0], "label": row[1]}
        else:
            raise DataError(f"{where}: row {number} is {_named(row)}; expected a dict, or (input, label)")


def rows_of_columns(columns: Mapping[Any, Any], where: str, samples: int | None) -> Iterator[Mapping[Any, Any]]:
    """Of a dict of columns, which are checked first."""
    if not columns:
        raise DataError(f"{where}: an empty dict; expected {TAKEN}")
    for name, cells in columns.items():
        column = hasattr(cells, "__len__") and hasattr(cells, "__getitem__")
        if not column or isinstance(cells, str | bytes | Mapping):
            raise DataError(f"{where}: column {str(name)!r} is {_named(cells)}; expected a list of values, one a row")
    lengths = {str(name): len(cells) for name, cells in columns.items()}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{name!r} {count}" for name, count in lengths.items())
        raise DataError(f"{where}: columns of different lengths ({counts}); give each as many values as there are rows")
    count = min(next(iter(lengths.values())), samples or max(lengths.values()))
    return told(({name: cells[i] for name, cells in columns.items()} for i in range(count)), where)


def is_frame(data: Any) -> bool:
    """Whether it is a DataFrame, of pandas or polars."""
    return type(data).__module__.partition(".")[0] in ("pandas", "polars") and type(data).__name__ == "DataFrame"


def frame_columns(frame: Any, where: str) -> dict[str, list[Any]]:
    """Columns of a DataFrame, a named index among them; missing values are None but in columns of floats."""
    if type(frame).__module__.startswith("polars"):
        return dict(frame.to_dict(as_series=False))
    if any(name is not None for name in frame.index.names):
        frame = frame.reset_index()
    names = [str(name) for name in frame.columns]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{where}: the DataFrame has several columns {twice!r}; rename them")
    found = {}
    for place, name in enumerate(names):
        series = frame.iloc[:, place]
        plain = getattr(series.dtype, "kind", "O") in "biuf" and not hasattr(series.dtype, "na_value")
        found[name] = series.tolist() if plain else [
            None if missing else value for value, missing in zip(series.tolist(), series.isna())
        ]  # fmt: skip
    return found


def _named(value: Any) -> str:
    kind = type(value)
    own = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__.partition('.')[0]}.{kind.__name__}"
    size = f" of {len(value)}" if isinstance(value, tuple | list) else ""
    return f"{'an' if own[0] in 'aeiouAEIOU' else 'a'} {own}{size}"


def _why(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
