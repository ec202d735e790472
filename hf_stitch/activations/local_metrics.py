"""Local metrics of paired rows, collected neighbour by neighbour; memory does not grow with their number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from hf_stitch.activations.collection import batch_size, store_at
from hf_stitch.activations.frames import Frames
from hf_stitch.activations.hooked_model import HookedModel
from hf_stitch.activations.neighborhoods import Neighborhood, embedding_point, given_perturbations, perturbations
from hf_stitch.activations.windows import pool_windows
from hf_stitch.errors import DataError
from hf_stitch.geometry.local_metrics.covariance_sketch import CovarianceSketch
from hf_stitch.geometry.local_metrics.dimension import intrinsic_dimension, scarce
from hf_stitch.geometry.local_metrics.local_metric import LocalMetric
from hf_stitch.hooks.capture import capture
from hf_stitch.hooks.masks import timestep_mask
from hf_stitch.loading.samples import Samples
from hf_stitch.recipe.digest import digest
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.recipe.side import SIDES, Role
from hf_stitch.runtime.part_store import PartStore
from hf_stitch.runtime.runtime import Runtime

# By hand.
SAMPLES_AT_ONCE = {"vector": 65536, "other": 64}
STEPS_AT_ONCE = {"vector": 65536, "other": 16384}  # timesteps of them all: long sounds would need tens of gigabytes


def collect_metric(
    recipe: Recipe,
    role: Role,
    end: HookedModel,
    samples: Samples,
    frames: Frames,
    windows: Sequence[np.ndarray],
    runtime: Runtime,
) -> tuple[LocalMetric, dict[str, Any]]:
    """Local metric of every row of one side.

    Args:
        windows: per sample (r, K, 2), the timesteps [start, end) that each of its r rows is made of.

    Returns:
        The metric on the selected features, and its summary: dimension (median, low, high), rank, spectrum, and
        `scarce`, a warning where the neighbours are too few for that dimension.
    """
    around = None if recipe.neighborhoods.kind == "given" else _neighborhood(recipe, end)
    # Rank and eta are applied to what was collected: another choice of them takes up the same parts.
    asked = recipe.neighborhoods.model_dump(exclude={"rank", "eta"})
    shape = [w.tolist() for w in windows]
    key = digest(
        {"frames": frames.key, "asked": asked, "seed": recipe.seed, "role": role, "end": end.features, "w": shape}
    )
    store = PartStore(store_at(frames.key))
    # A batch may have no row at all: none of its words was recognised.
    buckets = [bucket for bucket in _fewer(end, frames.buckets) if any(len(windows[i]) for i in bucket)]
    work = [(f"metric-{key}-{i:05d}", bucket) for i, bucket in enumerate(buckets)]
    with runtime.together(), runtime.progress.stage(f"neighbourhoods ({role})", sum(map(len, buckets))) as advance:
        for name, bucket in runtime.mine(work):
            if not store.has(name):
                store.write(name, _part(recipe, role, end, samples, frames, windows, bucket, around))
            advance(len(bucket) * runtime.accelerator.num_processes)
    parts = [store.read(name) for name, _ in work]
    metric, summary = _whole(recipe, parts, _order(buckets, windows))
    if recipe.neighborhoods.kind != "jacobian":  # derivatives are exact, however few the inputs
        count = min(recipe.neighborhoods.size, _offered(recipe, samples, role))
        if (few := scarce(summary["dimension"][0], count)) is not None:
            summary["scarce"] = few
    return metric, summary


def _fewer(end: HookedModel, buckets: Sequence[Sequence[int]]) -> Iterator[Sequence[int]]:
    """The buckets, cut into smaller ones where they hold more samples than a pass over neighbours begins with."""
    most = batch_size(end)
    return (bucket[k : k + most] for bucket in buckets for k in range(0, len(bucket), most))


def _part(
    recipe: Recipe,
    role: Role,
    end: HookedModel,
    samples: Samples,
    frames: Frames,
    windows: Sequence[np.ndarray],
    bucket: Sequence[int],
    around: Neighborhood | None,
) -> dict[str, Tensor]:
    """Principal directions of the moves of all rows of a bucket, in the order of its samples."""
    found, order = [], []
    lengths = (frames.source if role == "source" else frames.target).lengths
    for one in end.passes(samples.batch(bucket, SIDES.index(role))):
        rows = [bucket[i] for i in one.part.rows]
        if not any(len(windows[i]) for i in rows):
            continue
        if samples.near_ids is not None and around is None:
            deviations = _among(recipe, role, end, samples, rows)
        elif around is None:
            near = _given(recipe, role, end, samples, rows)
            deviations = given_perturbations(end.model, end.selected, one.inputs, near)
        else:
            keys = [samples.keys[i] for i in rows]
            longest = int(lengths[rows].max())
            chunk = at_once(end.preparer.modality, len(rows), longest, recipe.collect.tokens)
            deviations = perturbations(end.model, end.selected, one.inputs, keys, around, chunk)
        sketch = _sketch(end, one.mask, [windows[i] for i in rows], deviations, recipe)
        found.append(dict(zip(("directions", "variances", "trace"), sketch)))
        order.append(one.part.rows)
    own = [windows[i] for i in bucket]
    return found[0] if len(found) == 1 else _joined(found, _order(order, own))


def _offered(recipe: Recipe, samples: Samples, role: Role) -> int:
    """Neighbours that a sample could have; all have the same number."""
    if recipe.neighborhoods.kind != "given":
        return recipe.neighborhoods.size
    if samples.near_ids is not None:
        return samples.neighbour_rows([0]).shape[1]
    return len(samples.neighbours(0, SIDES.index(role)))


def _neighborhood(recipe: Recipe, end: HookedModel) -> Neighborhood:
    asked = recipe.neighborhoods
    where = asked.where or ("embedding" if end.preparer.modality == "text" else "input")
    embedding = embedding_point(end.model, end.probe) if where == "embedding" else None
    kind: Literal["gaussian", "jacobian"] = "jacobian" if asked.kind == "jacobian" else "gaussian"
    return Neighborhood(kind, asked.size, asked.delta / 4, recipe.seed, embedding)


def at_once(modality: str, batch: int, steps: int, tokens: int | None = None) -> int:
    """Neighbours of a batch of samples of at most so many timesteps that are run together, at least one.

    Args:
        tokens: of texts that run together, where that was asked for.
    """
    if tokens is not None:
        return max(1, tokens // max(steps, 1) // batch)
    samples, most = (known.get(modality, known["other"]) for known in (SAMPLES_AT_ONCE, STEPS_AT_ONCE))
    return max(1, min(samples, most // steps) // batch)


def _given(
    recipe: Recipe, role: Role, end: HookedModel, samples: Samples, bucket: Sequence[int]
) -> Iterator[dict[str, Tensor]]:
    """Batches of the first, second, ... neighbour of every sample; at most `size` of them."""
    near = [samples.neighbours(i, SIDES.index(role)) for i in bucket]
    counts = sorted({len(one) for one in near})
    if len(counts) > 1:
        raise DataError(
            f"neighborhoods.kind: given: the samples have {counts[0]} to {counts[-1]} neighbours in column "
            f"{samples.near[SIDES.index(role)]!r}; give all of them the same number"
        )
    for j in range(min(counts[0], recipe.neighborhoods.size)):
        yield _at_once(end, [one[j] for one in near])


def _among(recipe: Recipe, role: Role, end: HookedModel, samples: Samples, bucket: Sequence[int]) -> Iterator[Tensor]:
    """Moves to other samples of the data that are the neighbours (Bertalan et al., section 4.4); each runs once."""
    assert samples.whole is not None
    rows = samples.neighbour_rows(bucket)[:, : recipe.neighborhoods.size]
    index = {key: row for row, key in enumerate(samples.whole.keys)}
    own = np.array([index[samples.keys[i]] for i in bucket])
    needed, place = np.unique(np.concatenate([own, rows.ravel()]), return_inverse=True)
    found = []
    for start in range(0, len(needed), batch_size(end)):
        raw = samples.whole.batch(needed[start : start + batch_size(end)].tolist(), SIDES.index(role))
        with torch.no_grad():
            found.append(capture(end.model, [end.selected], _at_once(end, raw))[0])
    if {values.shape[1] for values in found} != {1}:
        raise DataError("data.fit.columns.neighbours takes hooks without timesteps; use neighborhoods.kind: gaussian")
    seen, steps = torch.cat(found), torch.from_numpy(place.reshape(-1))
    centre, near = seen[steps[: len(own)]], seen[steps[len(own) :]].unflatten(0, rows.shape)
    yield from (near - centre[:, None]).split(SAMPLES_AT_ONCE["other"], dim=1)


def _at_once(end: HookedModel, raws: Sequence[Any]) -> dict[str, Tensor]:
    """Inputs without lengths, so that nothing is padded."""
    return {name: value.to(end.model.device) for name, value in end.preparer.batch(raws).items()}


def _sketch(
    end: HookedModel,
    attention_mask: Tensor | None,
    windows: Sequence[np.ndarray],
    deviations: Iterator[Tensor],
    recipe: Recipe,
) -> tuple[Tensor, Tensor, Tensor]:
    """Principal directions of the moves of all rows of a batch, rows in sample order."""
    count, joined = max(len(w) for w in windows), windows[0].shape[1]
    padded = np.zeros((len(windows), count, joined, 2), np.int64)
    real = torch.zeros(len(windows), count, dtype=torch.bool)
    for i, w in enumerate(windows):
        padded[i, : len(w)], real[i, : len(w)] = w, True
    place = torch.from_numpy(padded)
    sketch: CovarianceSketch | None = None
    for moved in deviations:
        b, k = moved.shape[:2]
        # Windows count from a sample's first real timestep; padding on the left shifts them.
        mask = timestep_mask(end.model, attention_mask, moved[:, 0], end.point)
        where = (place.to(moved.device) + mask.int().argmax(1)[:, None, None, None]).repeat_interleave(k, 0)
        rows = pool_windows(moved.flatten(0, 1), where).unflatten(0, (b, k)).transpose(1, 2)
        rows = rows[real.to(rows.device)]
        if sketch is None:
            sketch = CovarianceSketch(len(rows), rows.shape[2], recipe.neighborhoods.max_rank)
        sketch.add(rows.cpu())
    assert sketch is not None
    return sketch.spectrum()


def _order(buckets: Sequence[Sequence[int]], windows: Sequence[np.ndarray]) -> Tensor:
    """Row numbers of the collected order, so that `collected[order]` is in sample order."""
    starts = np.cumsum([0] + [len(w) for w in windows])
    rows = [np.arange(starts[i], starts[i] + len(windows[i])) for bucket in buckets for i in bucket]
    return torch.from_numpy(np.concatenate(rows)).argsort()


def _joined(parts: list[dict[str, Tensor]], order: Tensor) -> dict[str, Tensor]:
    """Directions, variances and traces of the rows of all parts, at the places that `order` says."""
    # A part of few neighbours in few features may have fewer directions: pad them with zero variance.
    most = max(part["variances"].shape[1] for part in parts)
    for part in parts:
        short = most - part["variances"].shape[1]
        part["variances"] = torch.nn.functional.pad(part["variances"], (0, short))
        part["directions"] = torch.nn.functional.pad(part["directions"], (0, 0, 0, short))
    return {k: torch.cat([p[k] for p in parts])[order] for k in ("directions", "variances", "trace")}


def _whole(recipe: Recipe, parts: list[dict[str, Tensor]], order: Tensor) -> tuple[LocalMetric, dict]:
    directions, variances, trace = _joined(parts, order).values()
    asked = recipe.neighborhoods
    metric = LocalMetric.from_spectrum(directions, variances, trace, asked.eta, asked.rank, asked.delta / 4)
    spectrum = (variances / variances[:, :1]).double().median(0).values.tolist()
    summary = {"dimension": list(intrinsic_dimension(variances)), "rank": metric.rank, "local_spectrum": spectrum}
    return metric, summary
