"""Samples: what both models are given, decoded only when asked for, with labels, transcripts and groups beside them."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_stitch.errors import DataError, nearest
from hf_stitch.loading.audio import read_audio
from hf_stitch.loading.columns import check_classes, labels_of, text_of, vector_of
from hf_stitch.loading.images import read_picture
from hf_stitch.loading.processors import Preparer
from hf_stitch.loading.tables import Table, located, open_table
from hf_stitch.loading.token_offsets import Said
from hf_stitch.recipe.data import Data

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass
class Samples:
    """One set of samples.

    Attributes:
        name: fit, validation or test. `keys`: unique name of each sample.
        labels: class of each sample as the target numbers them, None where the recipe names no label column;
            `label_names` by class number.
        texts: true transcripts. groups: names of groups that get rows of their own in the report.
        near: columns with the neighbours of both models' inputs, where the data give them.
        near_ids: column with the ids of other samples that are the neighbours; `whole` has the samples they may be,
            those that were not taken too.
        times: column with start and end of each word that is said.
        answers: columns with what source and target should answer.
        colour: numbers that colour drawings.
    """

    name: str
    keys: list[str]
    table: Table
    columns: tuple[str, str]
    preparers: tuple[Preparer, Preparer]
    labels: list[int] | None = None
    label_names: list[str] | None = None
    label_column: str | None = None
    texts: list[str] | None = None
    groups: list[str] | None = None
    near: tuple[str | None, str | None] = (None, None)
    near_ids: str | None = None
    whole: Samples | None = None
    times: str | None = None
    answers: tuple[str | None, str | None] = (None, None)
    colour: list[float] | None = None
    remarks: list[str] = field(default_factory=list)
    changed: dict[str, set[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.keys)

    def source(self, i: int) -> Any:
        """The source model's raw input: (t,) float32 sound at its rate, a string, (d,) numbers, or a picture.

        Raises:
            DataError: a sample that cannot be used: missing, not audio, silent, too short, blank, not finite.
        """
        return self._raw(i, 0)

    def target(self, i: int) -> Any:
        """The target model's own raw input; as `source`."""
        return self._raw(i, 1)

    def batch(self, indices: Sequence[int], side: int) -> list[Any]:
        """Raw inputs of several samples of model 0 (source) or 1 (target); numbers are read in one query."""
        if self.preparers[side].modality == "vector":
            with suppress(TypeError, ValueError):  # told below, by sample
                rows = np.asarray(self.table.values(self.columns[side], indices), dtype=np.float64)
                rows = rows.reshape(len(indices), -1) if rows.ndim == 1 else rows
                if np.isfinite(rows).all() and self.preparers[side].width in (None, rows.shape[-1]):
                    return list(rows)
        return [self._raw(i, side) for i in indices]

    def said(self, i: int) -> Said:
        """The target's text of sample i with the times of its words.

        Raises:
            DataError: no column `times`, or one that does not hold a start and a later end for each word.
        """
        name, text = f"{self.name} sample {self.keys[i]!r}", str(self.target(i))
        if self.times is None:
            raise DataError(
                f"data.{self.name}.columns.times is missing: sequence.length: spans from sound needs start and end of "
                "each word; name a column of [start, end] pairs in seconds, or use length: ctc"
            )
        given, words = self.table.value(self.times, i) or [], len(text.split())
        try:
            pairs = [(one["start"], one["end"]) if isinstance(one, Mapping) else one for one in given]
            times = np.asarray(pairs, dtype=np.float64).reshape(len(pairs), 2)
        except (KeyError, TypeError, ValueError):
            raise DataError(f"{name}: column {self.times!r} must hold [start, end] or {{start, end}} a word") from None
        if len(times) != words:
            raise DataError(f"{name}: column {self.times!r} has the times of {len(times)} words, the text has {words}")
        if not np.isfinite(times).all() or (np.diff(times.ravel()) < 0).any() or times.min() < 0:
            raise DataError(f"{name}: column {self.times!r}: the words' times must be finite and in order, in seconds")
        return Said(text, times)

    def neighbours(self, i: int, side: int) -> list[np.ndarray]:
        """Neighbours that the data give of sample i: (d,) numbers each, as model 0 (source) or 1 (target) takes them.

        Raises:
            DataError: none are given, or no lists of numbers.
        """
        column, name = self.near[side], f"{self.name} sample {self.keys[i]!r}"
        given = None if column is None else self.table.value(column, i)
        if column is None or not isinstance(given, list) or not given or self.preparers[side].modality != "vector":
            raise DataError(
                f"{name}: neighborhoods.kind: given needs a column with a list of neighbours, each a list of numbers "
                f"for a model of numbers; got column {column!r} for a model of {self.preparers[side].modality}"
            )
        return [vector_of(one, name, column) for one in given]

    def neighbour_rows(self, indices: Sequence[int]) -> np.ndarray:
        """Which samples of `whole` are the neighbours of the samples `indices`: (b, q), as many of each.

        Raises:
            DataError: ids that no sample has, or of different numbers.
        """
        assert self.whole is not None
        assert self.near_ids is not None
        known = {key: row for row, key in enumerate(self.whole.keys)}
        found = []
        for i, ids in zip(indices, self.table.values(self.near_ids, indices)):
            keys = [str(one) for one in ids] if isinstance(ids, list) else []
            if not keys or not known.keys() >= set(keys):
                missing = next((key for key in keys if key not in known), None)
                what = "no list of ids" if not keys else f"the id {missing!r}, which no row has"
                name = f"{self.name} sample {self.keys[i]!r}"
                raise DataError(f"{name}: column {self.near_ids!r} holds {what}; expected ids of the same table")
            found.append([known[key] for key in keys])
        counts = sorted({len(one) for one in found})
        if len(counts) > 1:
            raise DataError(
                f"neighborhoods.kind: given: the samples have {counts[0]} to {counts[-1]} neighbours in column "
                f"{self.near_ids!r}; give all of them the same number"
            )
        return np.array(found)

    def true_answers(self, side: int) -> np.ndarray | None:
        """What model 0 (source) or 1 (target) should answer to each sample: (n, k), None where the data do not say.

        Raises:
            DataError: no numbers, or answers of different lengths.
        """
        column = self.answers[side]
        if column is None:
            return None
        try:
            rows = np.asarray(self.table.values(column, range(len(self))), dtype=np.float64)
        except (TypeError, ValueError):
            rows = np.full((1,), np.nan)
        if not np.isfinite(rows).all():
            raise DataError(f"{self.name}: column {column!r} must hold as many finite numbers in every row")
        return rows.reshape(len(self), -1)

    def true_texts(self, side: int) -> list[str] | None:
        """What model 0 (source) or 1 (target) should write of each sample; None where the data do not say."""
        column = self.answers[side]
        return None if column is None else [str(text or "") for text in self.table.values(column, range(len(self)))]

    @property
    def decoding(self) -> list[str]:
        """How samples were changed when they were decoded, such as resampled; grows as they are."""
        return [f"{self.name}: {len(keys)} samples {note}" for note, keys in sorted(self.changed.items())]

    def take(self, indices: Sequence[int]) -> Samples:
        """The samples at `indices`, in that order."""

        def chosen(values: list[Any] | None) -> list[Any] | None:
            return None if values is None else [values[i] for i in indices]

        return dataclasses.replace(
            self,
            keys=[self.keys[i] for i in indices],
            table=Table(self.table.rows.select(indices), self.table.folder),
            labels=chosen(self.labels),
            texts=chosen(self.texts),
            groups=chosen(self.groups),
            colour=chosen(self.colour),
        )

    def swapped(self) -> Samples:
        """The same samples in the other direction: the target's inputs become the source's, the labels its classes."""
        return dataclasses.replace(
            self._relabelled(self.preparers[0].label2id),
            columns=self.columns[::-1],
            preparers=self.preparers[::-1],
            near=self.near[::-1],
            answers=self.answers[::-1],
            whole=None if self.whole is None else self.whole.swapped(),
        )

    def _relabelled(self, label2id: Mapping[str, int] | None) -> Samples:
        """The same samples with their labels as another model numbers them; without where it has other classes."""
        if self.label_column is None or label2id is None or label2id == self.preparers[1].label2id:
            return self
        try:
            found = labels_of(self.table, self.label_column, label2id, f"data.{self.name}")
        except DataError as error:
            note = f"{self.name}: on the way back answers are not compared with the labels, whose classes are others"
            return dataclasses.replace(self, labels=None, remarks=[*self.remarks, f"{note} ({error})"])
        return dataclasses.replace(self, labels=found.numbers, label_names=found.names)

    def _raw(self, i: int, side: int) -> Any:
        column, preparer = self.columns[side], self.preparers[side]
        value = self.table.value(column, i)
        name = f"{self.name} sample {self.keys[i]!r}"
        if value is None:
            raise DataError(f"{name}: column {column!r} is empty; fill it or leave the row out")
        if preparer.modality == "audio":
            sound, least, where = located(value, self.table.folder), preparer.minimum, preparer.device
            audio = read_audio(sound, preparer.rate, name=name, minimum=least, device=where)
            self._tell(i, audio.notes)
            return audio.samples
        if preparer.modality == "text":
            return text_of(value, name, column)
        if preparer.modality == "image":
            notes: list[str] = []
            picture = read_picture(located(value, self.table.folder), name, notes)
            self._tell(i, notes)
            return picture
        vector = vector_of(value, name, column)
        if preparer.width not in (None, vector.shape[-1]):
            what = f"column {column!r} has {vector.shape[-1]} numbers, the model takes {preparer.width}"
            raise DataError(f"{name}: {what}; leave the row out, or name another column")
        return vector

    def _tell(self, i: int, notes: Sequence[str]) -> None:
        for note in notes:
            self.changed.setdefault(note, set()).add(self.keys[i])


def load_samples(
    data: Data,
    source: Preparer,
    target: Preparer,
    name: str,
    check_labels: bool = True,
    given: Mapping[str, Dataset] | None = None,
) -> Samples:
    """Read one set of a recipe's `data`; raw inputs are only decoded when they are asked for.

    Args:
        name: fit, validation or test. check_labels: refuse labels of one class only.
        given: rows in memory, by their names.

    Raises:
        DataError: no rows, a missing column, ids that occur twice, labels that cannot be used.
    """
    # `whole` keeps all rows: neighbours of the first n samples may be among the others.
    table = whole = open_table(data, name, given)
    remarks = []
    if data.samples is not None:
        if len(table.rows) < data.samples:
            remarks.append(f"{name}: {data.samples} samples were asked for, {len(table.rows)} are there")
        table = Table(table.rows.select(range(min(data.samples, len(table.rows)))), table.folder)
    rows, columns = table.rows, data.columns
    if len(rows) == 0:
        raise DataError(f"data.{name}: {data.dataset} has no rows; expected at least one sample")
    lacking = {key: one for key, one in columns.model_dump(exclude_none=True).items() if one not in rows.column_names}
    if lacking:
        told = "; ".join(f"data.{name}.columns.{key}: no column {column!r}" for key, column in lacking.items())
        raise DataError(f"{told}; {nearest(next(iter(lacking.values())), rows.column_names)}")
    if columns.target is None and source.modality != target.modality:
        raise DataError(
            f"data.{name}.columns.target is missing: the source takes {source.modality}, the target {target.modality}; "
            f"{nearest(target.modality, rows.column_names)}"
        )
    labels = None
    if columns.label is not None:
        labels = labels_of(table, columns.label, target.label2id, f"data.{name}", target.classes)
        remarks += [] if labels.note is None else [f"{name}: {labels.note}"]
        if check_labels:
            check_classes(labels.numbers, labels.names, name)
    samples = Samples(
        name=name,
        keys=_keys(table, columns.id, name),
        table=table,
        columns=(columns.source, columns.target or columns.source),
        preparers=(source, target),
        labels=None if labels is None else labels.numbers,
        label_names=None if labels is None else labels.names,
        label_column=columns.label,
        texts=[str(text or "") for text in rows[columns.text]] if columns.text else None,
        groups=[str(group) for group in rows[columns.group]] if columns.group else None,
        near=(columns.source_neighbours, columns.target_neighbours),
        near_ids=columns.neighbours,
        times=columns.times,
        answers=(columns.source_answer, columns.target_answer),
        colour=[float(number) for number in rows[columns.colour]] if columns.colour else None,
        remarks=remarks,
    )
    if columns.neighbours is None:
        return samples
    return dataclasses.replace(
        samples, whole=Samples(name, _keys(whole, columns.id, name), whole, samples.columns, samples.preparers)
    )


def _keys(table: Table, column: str | None, name: str) -> list[str]:
    if column is None:
        return [str(i) for i in range(len(table.rows))]
    keys = [str(key) for key in table.rows[column]]
    key, count = Counter(keys).most_common(1)[0]
    if count > 1:
        raise DataError(f"data.{name}.columns.id: {key!r} occurs {count} times in {column!r}; ids must be unique")
    return keys
