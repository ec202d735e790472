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
from hf_stitch.evaluation.answers import stacked
from hf_stitch.evaluation.references import make_references, reference_measures, scope_of
from hf_stitch.evaluation.trust import measure_trust
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
from hf_stitch.stitching.correspondence import Correspondence


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
        seen = Observations.open(recipe, runtime, timings, ("test",)).collect()
        references, scope = make_references(recipe, seen, "test"), scope_of(recipe, seen, "test")
        correspondence, kind = Correspondence(seen, recipe), references.kind
        answers = _answers(model, seen)
        measures = reference_measures(recipe, seen, "test", references)
        measures += kind.measures(recipe.label, kind.read(answers), references, scope)
        if model.trust is not None:
            frames, texts = seen.frames["test"], correspondence.texts("test")
            measures += measure_trust(recipe.label, model, frames, texts, answers, kind, scope, runtime)[0]
    return Report(
        recipe={"name": recipe.name, **recipe.plain()},
        fingerprint=recipe.fingerprint(),
        environment=environment(runtime),
        timings=dict(timings),
        memory_peak_bytes=peak_memory(),
        parameters=cost_of(model, seen.source, seen.target),
        measures=measures,
        verdict=judge(measures, recipe.label, asked=recipe.plain()),
        chosen=None,
        notes=seen.notes,
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


def _answers(model: StitchedModel, seen: Observations) -> Answers:
    samples, frames = seen.samples["test"], seen.frames["test"]
    preparer = model.rule.preparer(seen.source, seen.target)
    rows: dict[int, Tensor] = {}
    writes = text_output_of(model) is not None
    with seen.runtime.progress.stage("answers", len(samples)) as advance, torch.no_grad():
        for bucket in frames.buckets:
            said = [samples.said(i) for i in bucket] if model.rule.needs_times else None
            inputs = to_device(preparer.batch([samples.source(i) for i in bucket], said), seen.runtime)
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
