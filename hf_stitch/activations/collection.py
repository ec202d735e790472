"""Activation collection: run both models over the samples once, write as it goes, resume where it stopped.

Samples are put in buckets of like length before the work is shared out, so that a bucket holds the same samples in one
process or in ten, in a first run or a resumed one; every process then reads all parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hf_stitch.activations.ctc import CtcAlphabet
from hf_stitch.activations.forced_alignment import forced_path, spelled
from hf_stitch.activations.frames import Answers, Frames
from hf_stitch.activations.hooked_model import HookedModel, alphabet_of
from hf_stitch.activations.ragged import Ragged, Sequences
from hf_stitch.activations.stored_sequences import StoredSequences
from hf_stitch.errors import ActivationError, StitchError
from hf_stitch.hooks.finite_logits import check_logits
from hf_stitch.hooks.masks import timestep_mask
from hf_stitch.hooks.padding import Pass
from hf_stitch.hooks.points import HookPoint
from hf_stitch.loading.samples import Samples
from hf_stitch.loading.vector_head import VectorOutput
from hf_stitch.recipe.collect import Collect
from hf_stitch.recipe.digest import digest
from hf_stitch.recipe.side import Role
from hf_stitch.runtime.cache import cache_folder, describe
from hf_stitch.runtime.part_store import PartStore
from hf_stitch.runtime.runtime import Runtime
from hf_stitch.runtime.torchaudio_extra import torchaudio

AS_SEEN = Collect()
SEQUENCE_BATCH, VECTOR_BATCH = 16, 2048  # by hand; at most the rows whose draws `neighborhoods` keeps


def buckets_of(lengths: Sequence[int], size: int, tokens: int | None = None) -> tuple[tuple[int, ...], ...]:
    """Sample numbers in buckets of like length; depends on the lengths alone.

    A bucket has `size` samples, or where `tokens` are given as many as have no more of them together when all are as
    long as the longest of them, at least one.
    """
    order = sorted(range(len(lengths)), key=lambda i: (lengths[i], i))
    if tokens is None:
        return tuple(tuple(order[k : k + size]) for k in range(0, len(order), size))
    buckets: list[list[int]] = []
    for i in order:
        if not buckets or (len(buckets[-1]) + 1) * lengths[i] > tokens:
            buckets.append([])
        buckets[-1].append(i)
    return tuple(map(tuple, buckets))


def batch_size(end: HookedModel) -> int:
    return VECTOR_BATCH if end.preparer.modality == "vector" else SEQUENCE_BATCH


def _buckets(
    source: HookedModel, target: HookedModel, samples: Samples, tokens: int | None
) -> tuple[tuple[int, ...], ...]:
    """Samples that run together: by their number, or by the `tokens` of the model that makes more of them."""
    sides = [(source.preparer, samples.source), *([(target.preparer, samples.target)] if tokens else [])]
    vectors = source.preparer.modality == "vector"
    lengths = [1 if vectors else max(one.length(raw(i)) for one, raw in sides) for i in range(len(samples))]
    return buckets_of(lengths, min(batch_size(source), batch_size(target)), tokens)


def collect(
    source: HookedModel,
    target: HookedModel,
    samples: Samples,
    split: str,
    runtime: Runtime,
    data: Any,
    forced: bool = False,
    recipe: str = "",
    asked: Collect = AS_SEEN,
) -> Frames:
    """Run both models over the samples.

    Args:
        data: plain description of the data, part of the cache key.
        recipe: who asks, for the list of the cache.
        forced: align the target's texts with the source's CTC head too.
        asked: how many texts run together, and in what activations are stored.

    Raises:
        RecipeError: no CTC head to align with.
        ActivationError: NaN or infinite activations (the layer and sample are named), or no space left.
    """
    size = min(batch_size(source), batch_size(target))
    ends = {"source": source.identity, "target": target.identity}
    more: dict[str, Any] = {"forced": True} if forced else {}
    if asked.model_dump(exclude_none=True):
        more["collect"] = asked.model_dump(exclude_none=True)
    if "audio" in (source.preparer.modality, target.preparer.modality) and torchaudio().module is not None:
        # Its filter differs from SciPy's by 0.2 %: activations of the one must not be taken for those of the other.
        more["resampled"] = "torchaudio"
    # Another version may compute other activations of the same inputs.
    made_by = {name: version(name) for name in ("hf_stitch", "torch", "transformers")}
    key = digest({**ends, "data": data, "n": len(samples), "bucket": size, "versions": made_by, **more})
    letters = alphabet_of(source) if forced else None
    store = PartStore(cache_folder() / key)
    if runtime.is_main:
        # Of a folder its last name: the path would fill the line.
        named = {
            role: f"{end.side.model.rstrip('/').split('/')[-1]} at {end.side.hook}"
            for role, end in (("source", source), ("target", target))
        }
        describe(key, {"recipe": recipe, **named, "split": split, "samples": len(samples)})
    buckets = _buckets(source, target, samples, asked.tokens)
    work = [(f"{split}-{i:05d}", bucket) for i, bucket in enumerate(buckets)]
    with runtime.together(), runtime.progress.stage(f"activations ({split})", len(samples)) as advance:
        for name, bucket in runtime.mine(work):
            if not store.has(name):
                store.write(name, _stored(_part(source, target, samples, bucket, letters), asked))
            advance(len(bucket) * runtime.accelerator.num_processes)
    hooks: dict[Role, Sequence[HookPoint]] = {"source": source.further, "target": target.further}
    dtypes = {"source": source.model.dtype, "target": target.model.dtype}
    return _read(store, [name for name, _ in work], buckets, key, hooks, dtypes)


def _stored(part: dict[str, Tensor], asked: Collect) -> dict[str, Tensor]:
    """A part as it is written: activations in the dtype that was asked for; answers and paths as they are."""
    if asked.dtype is None:
        return part
    kind = getattr(torch, asked.dtype)
    return {
        name: value.to(kind) if value.is_floating_point() and _stays(name) else value for name, value in part.items()
    }


def _part(
    source: HookedModel,
    target: HookedModel,
    samples: Samples,
    bucket: Sequence[int],
    letters: CtcAlphabet | None,
) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for side, (role, end) in enumerate((("source", source), ("target", target))):
        found = []
        for one in end.passes(samples.batch(bucket, side)):
            rows = [bucket[i] for i in one.part.rows]
            with torch.no_grad(), _explained(end, [samples.keys[i] for i in rows]):
                found.append((one.part.rows, _seen(end, role, one, samples, rows, letters)))
        tensors |= _joined(role, found)
    return tensors


def _seen(
    end: HookedModel, role: str, one: Pass, samples: Samples, rows: Sequence[int], letters: CtcAlphabet | None
) -> dict[str, Answers]:
    """What one pass over the samples `rows` shows, on the CPU and without padding, so that it needs no mask."""
    found, answer = end.seen(role, one.inputs)
    if end.text_output is None and answer is not None:
        answer = output_of(answer, role, end.side.model)
    mask = timestep_mask(end.model, one.mask, found[0], end.point)
    seen: dict[str, Any] = {"": Ragged.unpad(found[0], mask)}
    _check_finite(seen[""], end, [samples.keys[i] for i in rows])
    head = int(role == "source" and end.head is not None)
    if head:
        # The best classes alone: logits of every frame would be larger than the activations.
        seen["path"] = Ragged.unpad(found[1].argmax(-1), mask)
    if head and letters is not None:
        logits, texts = Ragged.unpad(found[1], mask), [str(samples.target(i)) for i in rows]
        seen["forced"] = Ragged(_forced(logits, texts, letters), logits.lengths)
    for k, (values, point) in enumerate(zip(found[1 + head :], end.further)):
        seen[str(k)] = Ragged.unpad(values, timestep_mask(end.model, one.mask, values, point))
    if answer is not None:
        seen["written" if isinstance(answer, Ragged) else "output"] = answer
    return {
        key: Ragged(value.values.cpu(), value.lengths) if isinstance(value, Ragged) else value.cpu()
        for key, value in seen.items()
    }


def _joined(role: str, found: Sequence[tuple[Sequence[int], dict[str, Answers]]]) -> dict[str, Tensor]:
    """What all passes over a bucket showed, by the names in a part, in the order of the bucket."""
    order = torch.tensor([i for rows, _ in found for i in rows])
    tensors: dict[str, Tensor] = {}
    for key in found[0][1]:
        values: list[Any] = [seen[key] for _, seen in found]
        name = key if key in ("path", "forced") else ".".join(filter(None, (role, key)))
        if isinstance(values[0], Tensor):
            tensors[name] = torch.cat(values)[order.argsort()]
            continue
        rows = values[0] if len(values) == 1 else Ragged.join(values, order)
        tensors[f"{name}.values"] = rows.values
        if name == role or name.startswith(f"{role}."):  # those of paths are the activations'
            tensors[f"{name}.lengths"] = rows.lengths
    return tensors


@contextmanager
def _explained(end: HookedModel, keys: Sequence[str]) -> Iterator[None]:
    """ActivationError where a model fails on a batch, with its samples; one of more positions than it has, for one."""
    try:
        yield
    except (StitchError, torch.OutOfMemoryError):
        raise
    except (RuntimeError, IndexError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ActivationError(
            f"{end.side.model} fails on a batch of {len(keys)} samples, the longest of which is {keys[-1]!r} "
            f"({type(error).__name__}: {reason}); leave out what is longer or shorter than it takes, or name "
            "its limit as model_max_length of its tokenizer"
        ) from error


def _forced(logits: Ragged, texts: Sequence[str], letters: CtcAlphabet) -> Tensor:
    """The classes of all frames of a batch, on the best paths that spell the texts."""
    paths = [
        forced_path(logits[i].float().log_softmax(-1).cpu().numpy(), spelled(text, letters), letters.blank)
        for i, text in enumerate(texts)
    ]
    return torch.from_numpy(np.concatenate(paths))


def output_of(output: Any, role: str, name: str = "the stitched model") -> Tensor | None:
    """The answer of the model `name`, one row a sample: (b, k) logits, or vectors of a model with a vector head.

    Raises:
        ActivationError: the target answers with something else, or with NaN or infinite numbers.
    """
    logits = getattr(output, "logits", None)
    if logits is None and isinstance(output, VectorOutput):
        logits = output.embeddings
    if isinstance(logits, Tensor) and logits.ndim == 2:
        if role == "target":
            check_logits(logits, name)
        # NumPy has no bfloat16, and sums over samples need more digits than half precision has.
        return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
    if role == "source":
        return None
    shape = tuple(logits.shape) if isinstance(logits, Tensor) else None
    raise ActivationError(
        f"the target answers with {type(output).__name__} (logits {shape}); expected one row of logits a sample, "
        "as classifiers and regressors give, a vector, or a model that writes text: choose such a `target.class`"
    )


def to_device(inputs: dict[str, Tensor], runtime: Runtime) -> dict[str, Tensor]:
    return {name: value.to(runtime.device) for name, value in inputs.items()}


def _check_finite(frames: Ragged, end: HookedModel, keys: Sequence[str]) -> None:
    finite = frames.values.isfinite().flatten(1).all(1).cpu()
    if bool(finite.all()):
        return
    row = int((~finite).nonzero()[0])
    sample = int((frames.starts <= row).sum()) - 1
    raise ActivationError(
        f"{end.side.model}: {end.side.hook} gave NaN or infinite activations for sample {keys[sample]!r}; "
        "check that sample, or run in --dtype float32"
    )


def _read(
    store: PartStore,
    names: Sequence[str],
    buckets: tuple[tuple[int, ...], ...],
    key: str,
    hooks: Mapping[Role, Sequence[HookPoint]],
    dtypes: Mapping[str, torch.dtype],
) -> Frames:
    order = torch.tensor([i for bucket in buckets for i in bucket])
    place = order.argsort()
    held: dict[str, list[Tensor]] = {}
    shapes: dict[str, tuple[tuple[int, ...], torch.dtype]] = {}
    for name in names:
        # All of a part is read here to see that it is sound; what stays on disk is not held.
        for entry, tensor in store.read(name).items():
            shapes.setdefault(entry, (tuple(tensor.shape[1:]), tensor.dtype))
            if not _stays(entry):
                held.setdefault(entry, []).append(tensor.clone())  # the read one keeps its whole part mapped

    def stored(name: str, lengths: str) -> Sequences | None:
        entry = f"{name}.values"
        if entry not in shapes:
            return None
        own = torch.cat(held[f"{lengths}.lengths"])[place]
        shape, dtype = shapes[entry]
        if dtype.is_floating_point:  # as the model gave them, whatever they are stored in
            dtype = torch.promote_types(dtype, dtypes[name.partition(".")[0]])
        return StoredSequences(store, names, entry, buckets, own, shape, dtype)

    def answered(role: str) -> Answers | None:
        written = f"{role}.written"
        if f"{written}.values" in held:
            parts = map(Ragged, held[f"{written}.values"], held[f"{written}.lengths"])
            return Ragged.join(list(parts), order)
        outputs = held.get(f"{role}.output")
        return None if outputs is None else torch.cat(outputs)[place]

    source, target, output = stored("source", "source"), stored("target", "target"), answered("target")
    assert source is not None
    assert target is not None
    assert output is not None
    paths = stored("path", "source"), stored("forced", "source")
    further = {
        (side, point.module): stored(f"{side}.{k}", f"{side}.{k}")
        for side in hooks
        for k, point in enumerate(hooks[side])
    }
    there = {place: values for place, values in further.items() if values is not None}
    return Frames(source, target, paths[0], output, answered("source"), buckets, key, paths[1], there)


def _stays(entry: str) -> bool:
    """Whether a tensor of a part stays on disk: all that has timesteps, but for texts that were written."""
    return entry.endswith(".values") and not entry.endswith(".written.values")


def store_at(key: str) -> Path:
    """Folder of a collection's parts."""
    return cache_folder() / key
