"""Data sets that are in memory, or come as a stream: one split as rows, and what a user gave as splits.

The rows are a `datasets.Dataset` whose sounds stay undecoded, as those of `hf_stitch.loading.tables`. What is no such
Dataset is read once, row by row, and written to an Arrow file (see `arrow_rows`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hf_stitch.errors import DataError, nearest
from hf_stitch.loading.arrow_rows import written
from hf_stitch.loading.object_rows import frame_columns, is_frame, items_of, mappings, rows_of_columns, taken, told

if TYPE_CHECKING:
    from datasets import Dataset

SHARE = 0.8  # of a single set that serves the fit; by hand
SPLITS = {
    "fit": ("fit", "train", "training"),
    "validation": ("validation", "valid", "val", "dev", "eval"),
    "test": ("test", "testing"),
}
"""Names under which splits are given."""


class GivenSplits(dict[str, Any]):
    """Data sets by `fit`, `validation` and `test`; `notes` say what was made of what was given."""

    def __init__(self, splits: Mapping[str, Any], notes: Sequence[str] = ()) -> None:
        super().__init__(splits)
        self.notes = tuple(notes)


def rows_of(data: Any, name: str, samples: int | None = None) -> Dataset:
    """The rows of one set of samples.

    Args:
        data: what `object_rows.TAKEN` lists. Rows of torch Datasets are mappings, or (input, label), which become
            columns of these names. A transform (`with_transform`) is applied once.
        name: fit, validation or test, for errors.
        samples: only the first so many rows are read; what comes behind is never asked for.

    Raises:
        DataError: none of these, no rows, rows of another kind or that fail (with their number), or a stream that has
            more than `MOST` rows where `samples` does not say how many are wanted.
    """
    import datasets

    where = f"data.{name}"
    if samples is not None and (isinstance(samples, bool) or not isinstance(samples, int) or samples < 1):
        raise DataError(f"{where}: samples is a count of rows from 1 on; got {samples!r}")
    if isinstance(data, datasets.Dataset):
        rows = _of_dataset(data, where, samples)
    elif isinstance(data, datasets.IterableDataset):
        rows = rows_of_stream(data, where, samples)
    elif is_frame(data):
        rows = written(rows_of_columns(frame_columns(data, where), where, samples), where)
    elif isinstance(data, Mapping) and not isinstance(data, datasets.DatasetDict | datasets.IterableDatasetDict):
        rows = written(rows_of_columns(data, where, samples), where)
    else:
        rows = written(mappings(items_of(data, where, samples), where), where)
    if len(rows) == 0:
        raise DataError(f"{where}: no rows; expected at least one sample")
    return rows


def splits_of(data: Any, samples: int | None = None) -> GivenSplits:
    """What a user gave as data, by `fit`, `validation` and `test`.

    Args:
        data: a mapping with names of splits (`SPLITS`, in any case) and in each what `rows_of` takes, such as a
            DatasetDict; or one such set, whose first 80 % are then the fit and the rest the test.
        samples: of a single set only the first so many rows are taken.

    Raises:
        DataError: an unknown split, one that is given twice, none to fit on, or a set that cannot be divided.
    """
    import datasets

    if not (isinstance(data, datasets.DatasetDict | datasets.IterableDatasetDict) or _names_splits(data)):
        return _divided(data, samples, ())
    found, left_out = dict[str, Any](), list[str]()
    for name, rows in data.items():
        split = next((split for split, names in SPLITS.items() if str(name).casefold() in names), None)
        if split is None:
            _refuse_misspelt(str(name), data, isinstance(data, datasets.DatasetDict | datasets.IterableDatasetDict))
            left_out.append(repr(str(name)))
        elif split in found:
            twice = " and ".join(repr(str(one)) for one in data if str(one).casefold() in SPLITS[split])
            raise DataError(f"data: {twice} both name what is {split}; give one of them")
        else:
            found[split] = rows
    if "fit" not in found:
        raise DataError(f"data: no split to fit on; expected 'train' (or 'fit'), got {', '.join(map(str, data))}")
    notes = [f"splits {', '.join(left_out)} are left out"] if left_out else []
    if list(found) == ["fit"]:
        return _divided(found["fit"], samples, notes)
    return GivenSplits(found, notes)


def _divided(data: Any, samples: int | None, notes: Sequence[str]) -> GivenSplits:
    rows = rows_of(data, "fit", samples)
    if len(rows) < 2:
        raise DataError("data: one row cannot be both fit and test; give more, or a dict with 'train' and 'test'")
    count = min(max(1, int(SHARE * len(rows))), len(rows) - 1)
    note = (
        f"one set of {len(rows)} rows was given: the first {count} are the fit, the last {len(rows) - count} the test, "
        "in the order they have (shuffle sorted ones before, or give a dict with 'train' and 'test')"
    )
    return GivenSplits({"fit": rows.select(range(count)), "test": rows.select(range(count, len(rows)))}, [*notes, note])


def _names_splits(data: Any) -> bool:
    """Whether a mapping holds a data set under each key, and not a column."""
    if not isinstance(data, Mapping) or not data:
        return False
    if not all(_may_be_set(one) for one in data.values()):
        return False
    known = {name for names in SPLITS.values() for name in names}
    # A column of sounds is a list of mappings too.
    return any(str(name).casefold() in known for name in data) or not all(isinstance(v, list) for v in data.values())


def _may_be_set(value: Any) -> bool:
    """Whether it is rows, and no column of a dict of columns."""
    import datasets
    from torch.utils.data import Dataset as TorchDataset

    if isinstance(value, list | tuple):
        return all(isinstance(one, Mapping) or (isinstance(one, tuple) and len(one) == 2) for one in value)
    held = isinstance(value, datasets.Dataset | datasets.IterableDataset | TorchDataset | Mapping | Iterator)
    return held or is_frame(value) or callable(value)


def _refuse_misspelt(name: str, given: Mapping[Any, Any], a_dict_of_datasets: bool) -> None:
    """Published data have splits of other names, such as `unsupervised`; elsewhere an unknown one is a mistake."""
    there = {split for split, names in SPLITS.items() if any(str(one).casefold() in names for one in given)}
    missing = [name for split, names in SPLITS.items() if split not in there for name in names]
    if not a_dict_of_datasets or difflib.get_close_matches(name.casefold(), missing, n=1):
        known = [one for names in SPLITS.values() for one in names]
        raise DataError(f"data: unknown split {name!r}; {nearest(name, known)}")


def _of_dataset(data: Dataset, where: str, samples: int | None) -> Dataset:
    rows = data if samples is None or samples >= len(data) else data.select(range(samples))
    if rows.format["type"] == "custom":  # a transform may make other columns of those that are there
        return written(mappings(told(iter(rows), where), where), where)
    return undecoded(rows.with_format(None))


def undecoded(rows: Any) -> Any:
    """The same rows (Dataset or IterableDataset) with sounds left as they are: datasets decodes by torchcodec alone."""
    from datasets import Audio

    for column, feature in (rows.features or {}).items():
        if isinstance(feature, Audio):
            rows = rows.cast_column(column, Audio(sampling_rate=feature.sampling_rate, decode=False))
    return rows


def rows_of_stream(data: Any, where: str, samples: int | None) -> Dataset:
    """Of an IterableDataset; see `rows_of`."""
    from datasets import Image

    _refuse_endless(data, where, samples)
    rows, pictures = undecoded(data.with_format(None)), list[str]()
    for column, feature in (rows.features or {}).items():
        if isinstance(feature, Image) and feature.decode:
            # What is decoded would be encoded again, and JPEG loses by that.
            rows, pictures = rows.cast_column(column, Image(decode=False)), [*pictures, column]
    features = rows.features
    found = written(mappings(taken(told(iter(rows), where), where, samples), where), where, features)
    for column in pictures:
        found = found.cast_column(column, Image())
    return found


def _refuse_endless(data: Any, where: str, samples: int | None) -> None:
    step = getattr(data, "_ex_iterable", None)
    while step is not None and samples is None:
        if type(step).__name__ == "RepeatExamplesIterable" and getattr(step, "num_times", 0) is None:
            raise DataError(f"{where}: a stream without end (repeat); give its first rows, such as stream.take(1000)")
        if type(step).__name__ == "TakeExamplesIterable":
            return
        step = getattr(step, "ex_iterable", None)
