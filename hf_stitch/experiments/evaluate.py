"""`evaluate`: how well a stitched model holds on its test data or on others, run end to end as a user runs it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hf_stitch.activations.aligned_tokens import in_the_middle
from hf_stitch.activations.collection import output_of, to_device
from hf_stitch.activations.frames import Answers
from hf_stitch.activations.observations import Observations
from hf_stitch.errors import ArtifactError, DataError, RecipeError, nearest
from hf_stitch.evaluation.answers import next_tokens_of, stacked
from hf_stitch.evaluation.error_profile import error_profile, never_right
from hf_stitch.evaluation.references import make_references, reference_measures, scope_of
from hf_stitch.evaluation.target_half import TargetHalf
from hf_stitch.evaluation.trust import measure_trust
from hf_stitch.experiments.held_objects import check_held, held_objects, opened
from hf_stitch.hooks.position_limit import Cut, cut_samples, telling
from hf_stitch.hooks.trace import MakeInputs
from hf_stitch.loading.half_precision import widened
from hf_stitch.loading.objects.held import Objects
from hf_stitch.loading.tables import open_table
from hf_stitch.models.answering import text_output_of, write
from hf_stitch.models.cost import cost_of
from hf_stitch.models.hub.repository import local
from hf_stitch.models.modeling_stitched import StitchedModel, padding_notes
from hf_stitch.models.step_by_step import generation_notes
from hf_stitch.recipe.data import OPTIONAL, Data
from hf_stitch.recipe.names import MEMORY
from hf_stitch.recipe.public import local_names
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.recipe.side import SIDES, Role
from hf_stitch.report.report import Report
from hf_stitch.report.verdict.judge import judge
from hf_stitch.runtime.environment import environment, peak_memory
from hf_stitch.runtime.extras import extra
from hf_stitch.runtime.progress import Progress
from hf_stitch.runtime.progress_bars import chosen
from hf_stitch.runtime.runtime import Runtime
from hf_stitch.runtime.timings import Timings
from hf_stitch.stitching.correspondence import Correspondence


def evaluate(
    model_or_dir: StitchedModel | str | Path,
    data: Any = None,
    *,
    models: Mapping[str, Any] | None = None,
    columns: Mapping[str, str] | None = None,
    source_processor: Any = None,
    target_processor: Any = None,
    device: str | None = None,
    progress: Progress | bool | None = None,
    make_inputs: Mapping[Role, MakeInputs] | None = None,
) -> Report:
    """Measure a stitched model against its references.

    Unlike the report of `fit`, which reuses collected activations, every answer comes from the saved model's own
    forward on the raw inputs.

    Args:
        model_or_dir: a StitchedModel, a folder that `fit` wrote, or a Hub id.
        data: a `data.test` part (dataset, split, samples, columns) in place of the recipe's own; keys left out
            are taken from there, of another `dataset` only the columns that it has. Or rows in memory, as for `stitch`;
            of several splits `test`.
        columns: of rows in memory, where they are called otherwise than in the recipe.
        device, progress: as for `fit`.
        models: the two whole models, by `source` and `target`, if not where the recipe says, as names or as objects:
            the target is the reference on its own input.
        source_processor, target_processor: of models that are objects, as for `stitch`.
        make_inputs: as `fit`, for the whole models beside which it is measured.

    Raises:
        StitchError: no model there, no test data, or data that cannot be used; models of other weights than the halves.
    """
    given = isinstance(model_or_dir, StitchedModel)
    model: Any = model_or_dir if isinstance(model_or_dir, StitchedModel) else opened(local(model_or_dir), models or {})
    tools: dict[Role, Any] = {"source": source_processor, "target": target_processor}
    objects, names = held_objects(model, models or {}, tools, make_inputs or {}, data)
    if MEMORY + "test" in objects.data:
        data = {"dataset": MEMORY + "test", "columns": dict(columns or {})}
    elif columns is not None:
        data = {**(data or {}), "columns": {**(data or {}).get("columns", {}), **columns}}
    recipe, notes = _with_data(model, data, names, objects)
    check_held(recipe, objects)
    runtime, timings = Runtime.start(device, None, chosen(progress)), Timings()
    model = model.to(runtime.device).eval()
    # A model that somebody else holds stays of its dtype.
    if not given and (note := widened(model, str(model_or_dir))):
        notes.append(note)
    with timings.stage("total"):
        seen = Observations.open(recipe, runtime, timings, ("test",), make_inputs=make_inputs, objects=objects)
        _check_models(model, seen, names)
        seen = seen.collect()
        mean = getattr(model, "mean_vector", None)
        correspondence = Correspondence(seen, recipe)
        half = TargetHalf.of(model, correspondence) if in_the_middle(seen.target) else None
        known = None if mean is None else mean.double().cpu().numpy()[None]
        references = make_references(recipe, seen, "test", known, half)
        scope, kind = scope_of(recipe, seen, "test"), references.kind
        cuts: list[Cut] = []
        with telling(cuts.append):
            answers = _answers(model, seen)
        notes += cut_samples("test", cuts, seen.target.side.model)
        measures = reference_measures(recipe, seen, "test", references)
        measures += kind.measures(recipe.label, kind.read(answers), references, scope)
        lengths, keys = seen.frames["test"].source.lengths.numpy(), seen.samples["test"].keys
        profile: dict[str, Any] = {}
        with extra("errors by class and length", notes):
            profile = error_profile(references, kind.read(answers), lengths, keys)
        missed = never_right(profile.get("error_by_class"))
        if model.trust is not None:
            with extra("what the trust scores are worth", notes):
                frames, texts = seen.frames["test"], correspondence.texts("test")
                measures += measure_trust(recipe.label, model, frames, texts, answers, kind, scope, runtime)[0]
    parameters = cost_of(model, seen.source, seen.target, notes)
    return Report(
        recipe={"name": recipe.name, **recipe.plain()},
        fingerprint=recipe.fingerprint(),
        environment=environment(runtime),
        timings=dict(timings),
        memory_peak_bytes=peak_memory(),
        parameters=parameters,
        measures=measures,
        verdict=judge(measures, recipe.label, asked=recipe.plain(), missed=missed),
        chosen=None,
        notes=notes
        + seen.notes
        + padding_notes(model, seen.source.preparer.padding_side)
        + generation_notes(model.config),
    ).public(local_names(recipe.plain()))


def _with_data(
    model: StitchedModel, data: Mapping[str, Any] | None, models: Mapping[str, str], objects: Objects
) -> tuple[Recipe, list[str]]:
    """The model's recipe with the test data and models asked for, and what is to be told of the data."""
    content = model.config.recipe
    if not content:
        raise ArtifactError("this stitched model carries no recipe; expected one that `fit` made")
    plain = {**content, "compare": []}
    for side, name in models.items():
        if side not in SIDES:
            raise RecipeError(f"models: {side!r} is neither of the two; {nearest(side, SIDES)}")
        plain[side] = {**plain[side], "model": name, "revision": None}
    own: Any = {} if data is None else data.get("columns", {})
    if data is not None:
        base = plain["data"].get("test") or plain["data"]["fit"]
        if "dataset" in data:  # another data set does not take over split and size of the old one
            base = {
                key: value for key, value in base.items() if key not in ("split", "samples", "revision", "streaming")
            }
        columns = {**base["columns"], **own} if isinstance(own, Mapping) else own  # what is none is refused below
        asked = {**base, **data, "columns": columns}
        plain = {**plain, "data": {**plain["data"], "test": asked}}
    recipe = Recipe.parse(plain)
    if recipe.data.test is None:
        raise DataError("the recipe has no data.test part; give `evaluate` data, such as dataset=my.jsonl")
    if data is None or "dataset" not in data:
        return recipe, []
    return _with_its_columns(recipe, recipe.data.test, own, objects)


def _check_models(model: StitchedModel, opened: Observations, models: Mapping[str, str]) -> None:
    """ArtifactError where a model that was given has other weights than the half that was made of it."""
    halves = {"source": (model.prefix, opened.source), "target": (model.suffix, opened.target)}
    for side, name in models.items():
        half, whole = halves[side][0].state_dict(), halves[side][1].model.state_dict()
        other = [one for one in half.keys() & whole.keys() if not _same(half[one], whole[one])]
        if other:
            raise ArtifactError(
                f"{side}.model={name}: has other weights than the {side} of the fit ({len(other)} of "
                f"{len(half)}, such as {min(other)}): name the model that the map was fitted with"
            )


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one, other.to(one))


def _with_its_columns(recipe: Recipe, test: Data, given: Collection[str], objects: Objects) -> tuple[Recipe, list[str]]:
    """The recipe without the optional columns that another data set lacks, unless they were `given` for it."""
    names = open_table(test, "test", objects.data).rows.column_names
    columns = test.columns.model_dump(exclude_none=True)
    left_out = {key: columns[key] for key in OPTIONAL if key in columns and key not in given}
    left_out = {key: column for key, column in left_out.items() if column not in names}
    if not left_out:
        return recipe, []
    kept = test.columns.model_copy(update=dict.fromkeys(left_out))
    splits = recipe.data.model_copy(update={"test": test.model_copy(update={"columns": kept})})
    told = ", ".join(f"{key} ({column!r})" for key, column in left_out.items())
    note = f"test: {test.dataset} has no column for {told}: left out; where it has one, name it by columns.KEY"
    return recipe.model_copy(update={"data": splits}), [note]


def _answers(model: StitchedModel, seen: Observations) -> Answers:
    samples, frames = seen.samples["test"], seen.frames["test"]
    preparer = model.rule.preparer(seen.source, seen.target)
    rows: dict[int, Tensor] = {}
    writes, in_middle = text_output_of(model) is not None, in_the_middle(seen.target)
    with seen.runtime.progress.stage("answers", len(samples)) as advance, torch.no_grad():
        for bucket in frames.buckets:
            said = [samples.said(i) for i in bucket] if model.rule.needs_times else None
            inputs = to_device(preparer.batch([samples.source(i) for i in bucket], said), seen.runtime)
            if model.rule.state.target_length == "oracle":
                inputs["target_lengths"] = frames.target.lengths[list(bucket)]
            advance(len(bucket))
            if in_middle:
                source, mask, plan = model.crossing(inputs)
                rows.update(zip(bucket, next_tokens_of(model, frames, bucket, model.stitch(source, mask, plan), plan)))
                continue
            if writes:
                rows.update(zip(bucket, write(model, inputs)[0]))
                continue
            answer = output_of(model(**inputs), "target")
            assert answer is not None
            rows.update(zip(bucket, answer.cpu()))
    return stacked(rows, writes)
