"""The rehearsal itself: a recipe's own steps on stand-ins, each one watched."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from hf_stitch.activations.activation_set import ActivationSet, RowSet
from hf_stitch.activations.aligned_tokens import beside, check_tokens
from hf_stitch.activations.hooked_model import HookedModel
from hf_stitch.activations.observations import Observations, check_generation, check_together
from hf_stitch.errors import FitError, ManifoldError, StitchError
from hf_stitch.experiments.comparison import Comparison
from hf_stitch.experiments.fit_trust import fit_trust
from hf_stitch.experiments.fit_variant import check_rows, fit_map, mapped_sides
from hf_stitch.experiments.rehearsal.cost_meter import Watch
from hf_stitch.experiments.rehearsal.known_configurations import configuration
from hf_stitch.experiments.rehearsal.sizes import Sizes, load_all, small_recipe
from hf_stitch.experiments.rehearsal.stand_ins import stand_in
from hf_stitch.experiments.rehearsal.synthetic import with_spelled_paths
from hf_stitch.geometry.local_metrics.local_metric import LocalMetric
from hf_stitch.models.assembly import assemble
from hf_stitch.models.fitted import Fitted, SharedHalves
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.recipe.side import Role
from hf_stitch.recipe.stitch import DEFAULT
from hf_stitch.runtime.runtime import Runtime
from hf_stitch.runtime.timings import Timings
from hf_stitch.stitching.correspondence import Correspondence, Shared
from hf_stitch.stitching.layers.fit_layer import fit_layer
from hf_stitch.stitching.layers.layer import StitchingLayer

ROWS = 512  # the smaller of the two fits from whose costs that of the real one follows; by hand
SPREAD = 1.0  # standard deviation of rows that stand for those not rehearsed, in that of the rehearsed; by hand


@dataclass
class Rehearsed:
    """Everything that was seen.

    Attributes:
        small: the recipe that was rehearsed. hooked: stand-ins of source and target.
        origins: where the configurations of source and target came from.
        start: resident bytes before anything was built.
        paired: corresponding rows of the rehearsed samples. rows: of the two rehearsed fits, made from them.
        real_rows: those that the recipe will have.
        disk: bytes by kind of part (`activations`, `neighbourhoods`) in the cache.
        notes: what could not be rehearsed.
    """

    recipe: Recipe
    small: Recipe
    sizes: Sizes
    watch: Watch
    hooked: tuple[HookedModel, HookedModel]
    origins: tuple[str, str]
    observations: Observations
    start: int
    model: Any = None
    paired: int = 0
    rows: tuple[int, int] = (0, 0)
    real_rows: int = 0
    disk: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def run_small(recipe: Recipe, runtime: Runtime, scratch: Path) -> Rehearsed:
    """Go through a recipe on stand-ins and a few samples.

    Raises:
        StitchError: what the real run would refuse too: hook points, lengths, kinds of output, too few rows.
    """
    watch = Watch()
    start = watch.resident
    given = (recipe.rehearse.source, recipe.rehearse.target)
    with watch.stage("models"):
        found = [configuration(side, one) for side, one in zip((recipe.source, recipe.target), given)]
        back = recipe.generation if recipe.directions == "both" else None
        source = stand_in(recipe.source, found[0][0], runtime, recipe.seed, scratch, back)
        # Another seed: two stand-ins of one configuration must not be one model.
        target = stand_in(recipe.target, found[1][0], runtime, recipe.seed + 1, scratch, recipe.generation)
        check_generation(recipe, target)
        check_together(recipe, source, target)
        source = beside(source, target)
    hooked = (source, target)
    sizes = Sizes.of(recipe, hooked)
    small = small_recipe(recipe, sizes, hooked, scratch)
    forced = any(variant.sequence.align == "forced" for _, variant in small.variants())
    samples = load_all(small, hooked)
    check_tokens(small, source, target, samples)
    opened = Observations(source, target, small.data, samples, runtime, Timings(), forced, asked=small.collect)
    observations = _collected(opened, watch)
    if recipe.directions == "both":
        observations.swapped()
    origins = (found[0][1], found[1][1])
    seen = Rehearsed(recipe, small, sizes, watch, hooked, origins, observations, start)
    halves, shared = SharedHalves(observations), Shared()
    fitted = _fit(seen, halves, shared)
    if recipe.trust != "none":
        with watch.stage("trust"):
            fit_trust(fitted.model, fitted.correspondence)
    seen.disk = _disk(scratch)
    if "test" in observations.frames:
        with watch.stage("references"):
            comparison = Comparison(small, observations, halves)
            comparison.reference_measures()
        with watch.stage("evaluate"):
            comparison.measure(comparison.answered(fitted))
        _compare(seen, comparison, halves, shared)
    seen.model = fitted.model
    return seen


def _collected(observations: Observations, watch: Watch) -> Observations:
    """Each split collected and watched, with CTC paths that spell what was said."""
    for split, samples in observations.samples.items():
        with watch.stage(f"activations.{split}"):
            observations = observations.collect([split])
        texts = samples.texts or [str(text) for text in _target_texts(observations, split)]
        spelled = with_spelled_paths(observations.frames[split], observations.source, texts)
        observations = replace(observations, frames={**observations.frames, split: spelled})
    return observations


def _target_texts(observations: Observations, split: str) -> list[Any]:
    samples = observations.samples[split]
    if observations.target.preparer.modality != "text":
        return [""] * len(samples)
    return [samples.target(i) for i in range(len(samples))]


def _fit(seen: Rehearsed, halves: SharedHalves, shared: Shared) -> Fitted:
    """The recipe's own method, everything watched."""
    correspondence = _paired(seen, seen.small, shared)
    pairing = correspondence.fitted
    seen.paired, seen.real_rows = len(pairing), _real_rows(seen, correspondence)
    layer = _fit_twice(seen, seen.small, *_rows(seen, correspondence, watched=True))
    with seen.watch.stage("cut"):
        halves.halves(seen.small.sequence.facts.needs_ctc_head)
    return _put_together(correspondence, halves, layer)


def _compare(seen: Rehearsed, comparison: Comparison, halves: SharedHalves, shared: Shared) -> None:
    """Every comparison on the same models and data, for what it would refuse; the real run only tells of that."""
    for label, variant in seen.recipe.variants()[1:]:
        if not seen.recipe.observed_alike(variant):
            seen.notes.append(f"the comparison {label} has models or data of its own and was not rehearsed")
            continue
        # model_copy checks nothing anew: sizes of a rehearsal need not suit a real fit.
        around = variant.neighborhoods.model_copy(update={"size": seen.small.neighborhoods.size})
        small = variant.model_copy(update={"data": seen.small.data, "neighborhoods": around})
        try:
            correspondence = _paired(seen, small, shared)
            source, target = _rows(seen, correspondence)
            count = min(_real_rows(seen, correspondence), _fewest(small, source))
            layer = _any_layer(seen, small, source, target, count)
            comparison.measure(comparison.answered(_put_together(correspondence, halves, layer)))
        except StitchError as error:
            seen.notes.append(f"the comparison {label} would fail: {error}")


def _any_layer(seen: Rehearsed, recipe: Recipe, *rest: Any) -> StitchingLayer:
    """The asked layer, or an affine one where random rows allow none: that says nothing of real ones."""
    try:
        return _layer(seen, recipe, *rest)
    except (ManifoldError, FitError):
        return _layer(seen, recipe.model_copy(update={"stitch": DEFAULT}), *rest)


def _paired(seen: Rehearsed, recipe: Recipe, shared: Shared) -> Correspondence:
    """The rows of a recipe, as many as the real run needs."""
    correspondence = Correspondence(seen.observations, recipe, shared)
    check_rows(correspondence, _real_rows(seen, correspondence), seen.sizes.real["fit"])
    return correspondence


def _rows(seen: Rehearsed, correspondence: Correspondence, watched: bool = False) -> tuple[RowSet, RowSet]:
    metrics: dict[Role, LocalMetric | None] = {"source": None, "target": None}
    for role in mapped_sides(correspondence.recipe):
        with seen.watch.stage(f"neighbourhoods.{role}") if watched else nullcontext():
            metrics[role], _ = correspondence.metric(role)
    return correspondence.rows("fit", (metrics["source"], metrics["target"]))


def _put_together(correspondence: Correspondence, halves: SharedHalves, layer: StitchingLayer) -> Fitted:
    recipe, device = correspondence.recipe, correspondence.observations.runtime.device
    split = halves.halves(recipe.sequence.facts.needs_ctc_head)
    model = assemble(recipe, split, layer, correspondence.whole_rule()).to(device)
    return Fitted(recipe.label, model, correspondence, layer.diagnostics)


def _real_rows(seen: Rehearsed, correspondence: Correspondence) -> int:
    """Rows of the real fit: each sample's, stretched to its typical length, and cut as the recipe cuts them."""
    each = len(correspondence.fitted) / seen.sizes.samples
    limit = correspondence.recipe.sequence.per_sample
    longer = each * (seen.sizes.stretch if each > 1 else 1)
    return max(1, round(seen.sizes.real["fit"] * (longer if limit is None else min(longer, limit))))


def _fit_twice(seen: Rehearsed, recipe: Recipe, source: RowSet, target: RowSet) -> StitchingLayer:
    """Two fits, the second of twice as many rows where there will be so many: the real one's cost follows from them."""
    first = min(seen.real_rows, _fewest(recipe, source))
    seen.rows = (first, min(seen.real_rows, 2 * first))
    layer: StitchingLayer | None = None
    for name, count in zip(("fit.first", "fit.second"), seen.rows):
        if name == "fit.second" and count == first:
            break
        try:
            with seen.watch.stage(name):
                layer = _layer(seen, recipe, source, target, count)
        except (ManifoldError, FitError) as error:
            seen.watch.pop(name)
            seen.notes.append(f"the map of {count} random rows could not be made, its time is not estimated: {error}")
            break
    return layer if layer is not None else fit_layer(DEFAULT.method, source, target)


def _fewest(recipe: Recipe, source: RowSet) -> int:
    """Rows that a method needs at least, and no fewer than are worth timing."""
    asked = recipe.stitch
    needed = (
        (asked.get("coordinates") or 0) + 16,  # some more than coordinates, for eigensolvers; by hand
        asked.get("pairs") or 0,
        asked.get("landmarks") or 0,
        source.width + 1,
    )
    return max(ROWS, *needed)


def _layer(seen: Rehearsed, recipe: Recipe, source: RowSet, target: RowSet, count: int) -> StitchingLayer:
    index, draw = torch.arange(count) % len(source), torch.Generator().manual_seed(recipe.seed)
    grown = _grown(source, index, draw), _grown(target, index, draw)
    return fit_map(recipe, *grown, seen.observations, recipe.sequence.slice)


def _grown(rows: RowSet, index: torch.Tensor, draw: torch.Generator) -> ActivationSet:
    """The rows `index`, moved where they repeat so that they make one cloud, with keys of their own."""
    taken = rows.take(index)
    wide = taken.values if taken.full is None else taken.full
    moved = (
        wide
        + SPREAD
        * wide.std()
        * torch.randn(wide.shape, generator=draw).to(wide)
        * (torch.arange(len(index)) >= len(rows)).to(wide)[:, None]
    )
    keys = torch.stack([torch.arange(len(index)), torch.zeros(len(index), dtype=torch.long)], 1)
    if taken.full is None or taken.selected is None:
        return replace(taken, values=moved, keys=keys)
    return replace(taken, values=moved[:, list(taken.selected)], full=moved, keys=keys)


def _disk(scratch: Path) -> dict[str, int]:
    sizes = {"activations": 0, "neighbourhoods": 0}
    for path in scratch.rglob("*.safetensors"):
        sizes["neighbourhoods" if path.name.startswith("metric-") else "activations"] += path.stat().st_size
    return sizes


@contextmanager
def sealed(scratch: Path) -> Iterator[None]:
    """No network, and a cache of its own, inside."""
    from huggingface_hub import constants

    # The constant, since huggingface_hub reads its environment variable only when it is imported.
    kept, offline = os.environ.get("HF_STITCH_CACHE"), constants.HF_HUB_OFFLINE
    os.environ["HF_STITCH_CACHE"], constants.HF_HUB_OFFLINE = str(scratch), True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = offline
        if kept is None:
            del os.environ["HF_STITCH_CACHE"]
        else:
            os.environ["HF_STITCH_CACHE"] = kept
