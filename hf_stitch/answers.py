"""What models answer: a stitched model from collected activations, the cascade from the source's own text."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hf_stitch.collection import Frames, output_of, to_device
from hf_stitch.ends import End
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.pairing import Texts, alphabet_of
from hf_stitch.runtime import Runtime
from hf_stitch.sequences.ctc import words_of


def stitched_answers(model: StitchedModel, frames: Frames, texts: Texts | None, runtime: Runtime) -> Tensor:
    """Logits (n, k) of a stitched model whose prefix has already run.

    The prefix is what all variants share, so its activations are collected once and only layer and suffix run here.
    """
    rows: dict[int, Tensor] = {}
    columns = model.source_point.features
    with torch.no_grad():
        for bucket in frames.buckets:
            values, mask = (part.to(runtime.device) for part in frames.source.batch(bucket))
            values = values if columns is None else values[..., list(columns)]
            path = frames.path.batch(bucket)[0].to(runtime.device) if frames.path else None
            spans = _padded_spans(texts, bucket, model.rule.state.padding_side)
            plan = model.rule.plan(mask, path, spans, frames.target.lengths[list(bucket)])
            answer = output_of(model.finish(model.stitch(values, mask, plan), plan.mask), "target")
            assert answer is not None
            rows.update(zip(bucket, answer.cpu()))
    return torch.stack([rows[i] for i in range(len(frames))])


def _padded_spans(texts: Texts | None, bucket: Sequence[int], side: str) -> Tensor | None:
    if texts is None or texts.spans is None:
        return None
    spans = [torch.as_tensor(texts.spans[i]) for i in bucket]
    longest = max(len(row) for row in spans)
    padded = torch.full((len(spans), longest, 2), -2, dtype=torch.int64)
    for i, row in enumerate(spans):
        padded[i, slice(longest - len(row), None) if side == "left" else slice(0, len(row))] = row
    return padded


def heard_texts(source: End, frames: Frames) -> list[str]:
    """The source's own transcript of each sample."""
    assert frames.path is not None
    alphabet = alphabet_of(source)
    return [" ".join(word.text for word in words_of(frames.path[i].numpy(), alphabet)) for i in range(len(frames))]


def text_answers(target: End, texts: list[str], runtime: Runtime, batch: int = 32) -> Tensor:
    """The target's own logits (n, k) on texts."""
    rows = []
    with torch.no_grad():
        for start in range(0, len(texts), batch):
            inputs = to_device(target.preparer.batch(texts[start : start + batch]), runtime)
            answer = output_of(target.model(**inputs), "target")
            assert answer is not None
            rows.append(answer.cpu())
    return torch.cat(rows)
