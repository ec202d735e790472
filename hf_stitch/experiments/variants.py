"""The variants of a recipe one after the other: fitted, measured, told and written, or taken up where that was done."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from hf_stitch.activations.observations import Observations
from hf_stitch.errors import StitchError
from hf_stitch.experiments.comparison import Comparison
from hf_stitch.experiments.diagnose import pictures_of
from hf_stitch.experiments.finished_rows import FinishedRows, Row
from hf_stitch.experiments.output_folder import save_model
from hf_stitch.loading.quiet import quiet
from hf_stitch.models.fitted import Fitted
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.recipe.side import SIDES
from hf_stitch.report.measure import Measure
from hf_stitch.report.rendering.summary import summary_line
from hf_stitch.runtime.runtime import Runtime
from hf_stitch.runtime.timings import Timings


def saved_variant(comparison: Comparison, rows: FinishedRows, folder: Path | None) -> tuple[Fitted, list[Measure]]:
    """The recipe's own method, fitted and saved, with its answers and their measures."""
    seen, label = comparison.observations, comparison.recipe.label
    row = rows.get(label)
    fitted = None if row is None or folder is None else _loaded(row, comparison, folder)
    if row is None or fitted is None:
        start = time.perf_counter()
        with seen.timings.watched() as took:
            fitted = comparison.fit_saved()
            if folder is not None and seen.runtime.is_main:
                save_model(folder, fitted.model, seen.source, seen.target)
        saved = {"trust": fitted.trust and dict(fitted.trust), "strides": _strides(fitted.model)}
        row = Row(label, [], dict(fitted.diagnostics), time.perf_counter() - start, took, saved=saved)
        rows.add(row)
    else:
        _tell_before(row, seen)
    start = time.perf_counter()
    fitted = comparison.answered(fitted)
    measures = comparison.measure(fitted)
    rows.add(replace(row, measures=measures))
    _tell(row.label, measures, row.seconds + time.perf_counter() - start, seen.runtime)
    return fitted, measures


def _loaded(row: Row, comparison: Comparison, folder: Path) -> Fitted | None:
    """The model that a fit saved before it was stopped; None where it is not whole."""
    seen = comparison.observations
    # With several processes all must find it, and folders of their own may differ.
    if row.saved is None or seen.runtime.accelerator.num_processes > 1:
        return None
    try:
        with quiet():
            model = StitchedModel.from_pretrained(folder, **_structures(seen)).to(seen.runtime.device).eval()
    except (StitchError, OSError):
        return None
    # Copied, for products of tensors that lie otherwise, or at another boundary of memory, differ in their last bits.
    for name, tensor in _tensors(model).items():
        strides = row.saved["strides"].get(name, tensor.stride())
        tensor.data = torch.empty_strided(tensor.shape, strides, dtype=tensor.dtype, device=tensor.device).copy_(tensor)
    return Fitted(row.label, model, comparison.correspondence(comparison.recipe), row.fit, row.saved["trust"])


def _structures(seen: Observations) -> dict[str, Any]:
    """The models by which halves are built that no configuration builds."""
    return {role: end.model for role, end in zip(SIDES, (seen.source, seen.target)) if not end.built}


def _strides(model: StitchedModel) -> dict[str, list[int]]:
    """How the tensors lie in memory that a file lays out otherwise."""
    laid = {name: list(one.stride()) for name, one in _tensors(model).items() if not one.is_contiguous()}
    return {name: strides for name, strides in laid.items() if 0 not in strides}  # of those many places are one


def _tensors(model: StitchedModel) -> dict[str, torch.Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def own_comparison(recipe: Recipe, comparison: Comparison) -> Callable[[], Comparison]:
    """Where a variant is compared: on the same observations, or on its own, about other models or data, when needed."""

    @functools.cache
    def opened() -> Comparison:
        if comparison.serves(recipe):
            return comparison
        seen = comparison.observations
        own = Observations.open(recipe, seen.runtime, Timings(), make_inputs=seen.own_inputs, objects=seen.objects)
        return Comparison(recipe, own.collect())

    return opened


def compared(
    label: str, recipe: Recipe, comparison: Comparison, own: Callable[[], Comparison], rows: FinishedRows
) -> Row:
    """One comparison; see `own_comparison`."""
    seen = comparison.observations
    if (row := rows.get(label)) is not None:
        _tell_before(row, seen)
        comparison.remember(label, row.errors)
        return row
    seen.runtime.progress.note(f"comparing with {label}")
    start = time.perf_counter()
    with seen.timings.watched() as took:
        other = own()
        fitted = other.answered(other.fit(label, recipe))
        measures = other.measure(fitted)
    row = Row(label, measures, dict(fitted.diagnostics), time.perf_counter() - start, took)
    return _done(replace(row, errors=comparison.errors(label)), rows, seen.runtime)


def backward(label: str, recipe: Recipe, back: Comparison, rows: FinishedRows, drawn: bool) -> Row:
    """A variant from target to source; with pictures where they are to be `drawn`."""
    seen = back.observations
    if (row := rows.get(label, "backward")) is not None:
        _tell_before(row, seen)
        return row
    start = time.perf_counter()
    with seen.timings.watched() as took:
        fitted = back.answered(back.fit(label, recipe))
        measures = back.measure(fitted)
        pictures = pictures_of(fitted, back.references["test"]) if drawn else None
    row = Row(label, measures, {}, time.perf_counter() - start, took, direction="backward", pictures=pictures)
    return _done(row, rows, seen.runtime)


def _done(row: Row, rows: FinishedRows, runtime: Runtime) -> Row:
    rows.add(row)
    _tell(row.title, row.measures, row.seconds, runtime)
    return row


def _tell(title: str, measures: list[Measure], seconds: float, runtime: Runtime) -> None:
    found = summary_line(measures)
    runtime.progress.note(f"{title}: {found}{', ' * bool(found)}{seconds:.1f} s")


def _tell_before(row: Row, seen: Any) -> None:
    seen.timings.add(row.timings)
    seen.runtime.progress.note(f"{row.title}: fitted before this run, taken up")
