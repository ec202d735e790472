"""`evaluate`: how well a stitched model holds on its test data or on others, run end to end as a user runs it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hf_stitch.activations.collection import output_of, to_device
from hf_stitch.activations.frames import Answers
from hf_stitch.activations.observations import Observations
from hf_stitch.errors import ArtifactError, DataError
from hf_stitch.evaluation.answer_kinds.base import Scope
from hf_stitch.evaluation.answers import stacked
from hf_stitch.evaluation.measure_variant import answer_measures
from hf_stitch.evaluation.references import make_references, reference_measures
from hf_stitch.evaluation.trust import trust_measures_of
from hf_stitch.models.answering import text_output_of, write
from hf_stitch.models.cost import cost_of
from hf_stitch.models.hub.repository import local
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.report.report import Report
from hf_stitch.report.verdict.judge import judge
from hf_stitch.runtime.environment import environment, peak_memory
from hf_stitch.runtime.progress import Progress
from hf_stitch.runtime.runtime import Runtime
from hf_stitch.runtime.timings import Timings


def evaluate(
    model_or_dir: StitchedModel | str | Path,
    data: Mapping[str, Any] | None = None,
    *,
    device: str | None = None,
    progress: Progress | None = None,
) -> Report:
    """Measure a stitched model against its references.

    Unlike the report of `fit`, which reuses collected activations, every answer comes from the saved model's own
    forward on the raw inputs.

    Args:
        model_or_dir: a StitchedModel, a folder that `fit` wrote, or a Hub id.
        data: a `data.test` part (dataset, split, samples, columns) in place of the recipe's own; keys left out
            are taken from there, of another `dataset` only the columns.

    Raises:
        StitchError: no model there, no test data, or data that cannot be used.
    """
    given = isinstance(model_or_dir, StitchedModel)
    model: Any = model_or_dir if given else StitchedModel.from_pretrained(local(model_or_dir))
    recipe = _with_data(model, data)
    runtime, timings = Runtime.start(device, None, progress), Timings()
    model = model.to(runtime.device).eval()
    with timings.stage("total"):
        observations = Observations.open(recipe, runtime, timings, ("test",)).collect()
        own = make_references(observations, "test")
        answers = _answers(model, observations)
        samples = observations.samples["test"]
        scope = Scope("test", "forward", recipe.seed, samples.groups)
        measures = reference_measures(observations, "test", own)
        measures += answer_measures(recipe.label, answers, own, observations, "test", scope)
        if model.trust is not None:
            measures += trust_measures_of(model, recipe, recipe.label, observations, own, answers)[0]
    return Report(
        recipe={"name": recipe.name, **recipe.plain()},
        fingerprint=recipe.fingerprint(),
        environment=environment(runtime),
        timings=dict(timings),
        memory_peak_bytes=peak_memory(),
        parameters=cost_of(model, observations.source, observations.target),
        measures=measures,
        verdict=judge(measures, recipe.label, asked=recipe.plain()),
        chosen=None,
        notes=samples.notes,
    )


def _with_data(model: StitchedModel, data: Mapping[str, Any] | None) -> Recipe:
    content = model.config.recipe
    if not content:
        raise ArtifactError("this stitched model carries no recipe; expected one that `fit` made")
    plain = {**content, "compare": []}
    if data is not None:
        base = plain["data"].get("test") or plain["data"]["fit"]
        if "dataset" in data:  # another data set does not take over split and size of the old one
            base = {key: value for key, value in base.items() if key not in ("split", "samples", "revision")}
        asked = {**base, **data, "columns": {**base["columns"], **data.get("columns", {})}}
        plain = {**plain, "data": {**plain["data"], "test": asked}}
    recipe = Recipe.parse(plain)
    if recipe.data.test is None:
        raise DataError("the recipe has no data.test part; give `evaluate` data, such as dataset=my.jsonl")
    return recipe


def _answers(model: StitchedModel, observations: Observations) -> Answers:
    samples, frames = observations.samples["test"], observations.frames["test"]
    preparer = observations.source.preparer
    if model.rule.facts.needs_target_spans:
        preparer = preparer.with_target_tokenizer(observations.target.tokenizer)
    rows: dict[int, Tensor] = {}
    writes = text_output_of(model) is not None
    with observations.runtime.progress.stage("answers", len(samples)) as advance, torch.no_grad():
        for bucket in frames.buckets:
            said = [samples.said(i) for i in bucket] if model.rule.needs_times else None
            inputs = to_device(preparer.batch([samples.source(i) for i in bucket], said), observations.runtime)
            if model.rule.state.target_length == "oracle":
                inputs["target_lengths"] = frames.target.lengths[list(bucket)]
            advance(len(bucket))
            if writes:
                rows.update(zip(bucket, write(model, inputs)[0]))
                continue
            answer = output_of(model(**inputs), "target")
            assert answer is not None
            rows.update(zip(bucket, answer.cpu()))
    return stacked(rows, writes)
