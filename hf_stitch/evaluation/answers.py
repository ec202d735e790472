"""What models answer: a stitched model from collected activations, the cascade from the source's own text."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from hf_stitch.activations.collection import output_of
from hf_stitch.activations.ctc import words_of
from hf_stitch.activations.frames import Answers, Frames
from hf_stitch.activations.hooked_model import HookedModel, alphabet_of
from hf_stitch.activations.next_tokens import vocabulary_of
from hf_stitch.activations.observations import Observations
from hf_stitch.activations.ragged import Ragged
from hf_stitch.activations.text_output import MAX_NEW_TOKENS, TextOutput, configure_generation
from hf_stitch.evaluation.target_half import answers_beside_own, logits_of
from hf_stitch.models.answering import finish, text_output_of
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.runtime.runtime import Runtime
from hf_stitch.stitching.lengths.length_rule import LengthRule
from hf_stitch.stitching.lengths.position_plan import Plan
from hf_stitch.stitching.lengths.target_texts import TargetTexts
from hf_stitch.stitching.trust.gauge import Trust, Uncalibrated


def stitched_answers(model: StitchedModel, frames: Frames, texts: TargetTexts | None, runtime: Runtime) -> Answers:
    """Logits (n, k) of a stitched model whose prefix has already run, or the tokens that it generates.

    Of a causal model in the middle rows of what it says at each position, see `hf_stitch.activations.next_tokens`. The
    prefix is what all variants share, so its activations are collected once and only layer and suffix run here.
    """
    rows: dict[int, Tensor] = {}
    text_output = text_output_of(model)
    with torch.no_grad():
        for bucket, values, mask, plan in planned(model, frames, texts, runtime):
            if text_output is not None and text_output.mode == "middle":
                rows.update(zip(bucket, next_tokens_of(model, frames, bucket, model.stitch(values, mask, plan), plan)))
                continue
            if text_output is not None:
                rows.update(zip(bucket, finish(model, text_output, values, mask, plan)))
                continue
            answer = output_of(
                model.finish(model.stitch(values, mask, plan), plan.mask), "target", "the stitched model"
            )
            assert answer is not None
            rows.update(zip(bucket, answer.cpu()))
    return stacked(rows, text_output is not None)


def next_tokens_of(
    model: StitchedModel, frames: Frames, bucket: Sequence[int], values: Tensor, plan: Plan
) -> list[Tensor]:
    """What a stitched model with `values` (b, t, m) at the target's hook point says, beside the target itself."""
    run, size = partial(logits_of, model), vocabulary_of(model.suffix)
    return answers_beside_own(run, size, frames, bucket, plan.mask, {"": values})[""]


def stacked(rows: Mapping[int, Tensor], written: bool) -> Answers:
    """Answers by sample number, put together."""
    ordered = [rows[i] for i in range(len(rows))]
    return Ragged.pack(ordered) if written else torch.stack(ordered)


def trust_distances(
    model: StitchedModel, draft: Uncalibrated, frames: Frames, texts: TargetTexts | None, runtime: Runtime, own: bool
) -> Tensor:
    """(n, ingredients) distances of collected samples; `own`: of the fit split, each compared with the others only."""
    rows: Tensor | None = None
    with torch.no_grad():
        for bucket, values, _, plan in planned(model, frames, texts, runtime):
            left_out = draft.left_out(torch.tensor(bucket, device=runtime.device)) if own else None
            found = draft.gauge.distances(model.layer, model.rule.rows(values, plan), plan.used, left_out)
            rows = found.new_empty(len(frames), found.shape[1]) if rows is None else rows
            rows[list(bucket)] = found
    assert rows is not None
    return rows


def trust_scores(model: StitchedModel, frames: Frames, texts: TargetTexts | None, runtime: Runtime) -> Trust:
    """What a model's trust gauge says about collected samples, in their order, on the CPU."""
    found: Tensor | None = None
    with torch.no_grad():
        for bucket, values, _, plan in planned(model, frames, texts, runtime):
            trust = model.trusted(values, plan)
            names = list(trust.parts)
            # One table, so that a batch is copied from the device once.
            columns = [trust.score, *trust.parts.values(), *trust.distances.values()]
            table = torch.stack(columns, 1).cpu()
            found = table.new_empty(len(frames), table.shape[1]) if found is None else found
            found[list(bucket)] = table
    assert found is not None
    score, *rest = found.unbind(1)
    return Trust(score, dict(zip(names, rest)), dict(zip(names, rest[len(names) :])))


def planned(
    model: StitchedModel, frames: Frames, texts: TargetTexts | None, runtime: Runtime
) -> Iterator[tuple[tuple[int, ...], Tensor, Tensor, Plan]]:
    """Batches of collected samples: their numbers, source activations, mask and target positions."""
    return planned_by(model.rule, model.source_point.features, frames, texts, runtime)


def planned_by(
    rule: LengthRule,
    columns: Sequence[int] | None,
    frames: Frames,
    texts: TargetTexts | None,
    runtime: Runtime,
) -> Iterator[tuple[tuple[int, ...], Tensor, Tensor, Plan]]:
    """The same by a length rule; `columns` are the selected features of the source, None for all."""
    for bucket in frames.buckets:
        values, mask = (part.to(runtime.device) for part in frames.source.batch(bucket))
        values = values if columns is None else values[..., list(columns)]
        path = frames.path.batch(bucket)[0].to(runtime.device) if frames.path else None
        spans = _padded_spans(texts, bucket, rule.state.padding_side)
        lengths = frames.target.lengths[list(bucket)]
        # True target lengths are given to every rule, but only `oracle` looks at them.
        yield bucket, values, mask, rule.plan(mask, path, spans, lengths, values)


def _padded_spans(texts: TargetTexts | None, bucket: Sequence[int], side: str) -> Tensor | None:
    if texts is None or texts.spans is None:
        return None
    spans = [torch.as_tensor(texts.spans[i]) for i in bucket]
    longest = max(len(row) for row in spans)
    # -2 marks padding, as in batches of the processor.
    padded = torch.full((len(spans), longest, 2), -2, dtype=torch.int64)
    for i, row in enumerate(spans):
        padded[i, slice(longest - len(row), None) if side == "left" else slice(0, len(row))] = row
    return padded


def transcripts_of(source: HookedModel, frames: Frames) -> list[str] | None:
    """The source's own transcript of each sample; None where it has no CTC head, or no tokenizer for it."""
    if frames.path is None or source.tokenizer is None:
        return None
    alphabet = alphabet_of(source)
    return [" ".join(word.text for word in words_of(frames.path[i].numpy(), alphabet)) for i in range(len(frames))]


def recognised(observations: Observations, split: str) -> list[str] | None:
    """What a source that hears and generates text (Whisper, Speech2Text) writes for each sample, by its own settings.

    None of any other source: one that reads text has no transcripts.
    """
    source, samples, runtime = observations.source, observations.samples[split], observations.runtime
    model, hears = source.model, source.preparer.modality == "audio"
    generates = model.can_generate() and getattr(model.config, "is_encoder_decoder", False)
    if not (hears and generates) or source.tokenizer is None:
        return None
    found: dict[int, str] = {}
    writer, stage = TextOutput.generating(model, "encoder"), observations.timings.stage("evaluate.transcripts")
    with stage, _own_settings(model), runtime.progress.stage("transcripts", len(samples)) as advance, torch.no_grad():
        configure_generation(model, "encoder", _limit(model))
        for bucket in observations.frames[split].buckets:
            for one in source.passes(samples.batch(bucket, 0)):
                texts = writer.texts(writer.own(model, one.inputs), source.tokenizer)
                found.update(zip((bucket[row] for row in one.part.rows), texts))
            advance(len(bucket))
    return [found[i] for i in range(len(samples))]


def _limit(model: Any) -> dict[str, int]:
    """Most tokens of a recogniser that names no limit itself: no more than half its positions, as Whisper has it."""
    settings, positions = model.generation_config, getattr(model.config, "max_target_positions", None)
    if settings.max_new_tokens is not None or settings.max_length is not None or not positions:
        return {}
    return {"max_new_tokens": min(MAX_NEW_TOKENS, int(positions) // 2)}


@contextmanager
def _own_settings(model: Any) -> Iterator[None]:
    """Inside, generation settings may be changed; the model's own come back."""
    own = model.generation_config
    model.generation_config = copy.deepcopy(own)
    try:
        yield
    finally:
        model.generation_config = own


# Batches of 32, by hand: texts are short beside sounds.
def text_answers(target: HookedModel, texts: list[str], batch: int = 32) -> Answers:
    """The target's own logits (n, k) on texts, or the tokens that it generates for them."""
    rows: dict[int, Tensor] = {}
    with torch.no_grad():
        for start in range(0, len(texts), batch):
            rows |= {start + i: row for i, row in own_answers(target, texts[start : start + batch]).items()}
    return stacked(rows, target.text_output is not None)


def own_answers(model: HookedModel, raws: Sequence[Any]) -> dict[int, Tensor]:
    """A model's own logits (k,) on each raw input, or the tokens that it generates for it, by number."""
    rows: dict[int, Tensor] = {}
    for one in model.passes(raws):
        if model.text_output is not None:
            rows.update(zip(one.part.rows, model.text_output.own(model.model, one.inputs)))
            continue
        answer = output_of(model.model(**one.inputs), "target", model.side.model)
        assert answer is not None
        rows.update(zip(one.part.rows, answer.cpu()))
    return rows
