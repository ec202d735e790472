"""What was seen: two opened models, their samples by split, and the activations of both sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from hf_stitch.activations.aligned_tokens import beside, check_tokens
from hf_stitch.activations.collection import AS_SEEN, collect
from hf_stitch.activations.frames import Frames
from hf_stitch.activations.hooked_model import HookedModel, open_hooked_model
from hf_stitch.errors import ActivationError, DataError, RecipeError
from hf_stitch.hooks.trace import MakeInputs
from hf_stitch.loading.objects.held import NOTHING, Objects
from hf_stitch.loading.provenance import data_stamp
from hf_stitch.loading.samples import Samples, load_samples
from hf_stitch.recipe.collect import Collect
from hf_stitch.recipe.data import Splits
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.recipe.side import SIDES, Direction, Role
from hf_stitch.runtime.runtime import Runtime
from hf_stitch.runtime.timings import Timings
from hf_stitch.runtime.torchaudio_extra import trouble

SPLITS = ("fit", "validation", "test")


@dataclass(frozen=True)
class Observations:
    """Two hooked models on the same samples. A finished value: `collect` and `swapped` return others.

    Attributes:
        data: what was asked for of each split.
        samples, frames: by split (`fit`, `validation`, `test`), those that the recipe has; frames are there once they
            were collected.
        forced: the fit's texts are aligned with the source's CTC head too.
        direction: `backward` when the models are swapped.
        remarks: what a reader of the report should know of the samples, by split.
        recipe: the name of who asks. objects: models and rows in memory.
        asked: how activations are collected and stored.
    """

    source: HookedModel
    target: HookedModel
    data: Splits
    samples: Mapping[str, Samples]
    runtime: Runtime
    timings: Timings
    forced: bool = False
    frames: Mapping[str, Frames] = field(default_factory=dict)
    direction: Direction = "forward"
    remarks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    recipe: str = ""
    asked: Collect = AS_SEEN
    objects: Objects = NOTHING

    @classmethod
    def open(
        cls,
        recipe: Recipe,
        runtime: Runtime,
        timings: Timings,
        splits: Sequence[str] = SPLITS,
        hooks: tuple[Sequence[str], Sequence[str]] = ((), ()),
        make_inputs: Mapping[Role, MakeInputs] | None = None,
        objects: Objects = NOTHING,
    ) -> Observations:
        """Load models and data and check them; nothing long is done yet.

        Args:
            hooks: further hook points of source and target, collected in the same pass; see `Frames.at`.
            make_inputs: by side (batch, length) -> keyword arguments, for models that cannot be probed on what is known
                of them.
            objects: models and rows in memory that the recipe names.

        Raises:
            StitchError: a model, hook point, column or sample that cannot be used.
        """
        with timings.stage("load.models"):
            back = recipe.generation if recipe.directions == "both" else None
            own = make_inputs or {}
            source = open_hooked_model(recipe.source, runtime, back, hooks[0], own.get("source"), objects)
            target = open_hooked_model(recipe.target, runtime, recipe.generation, hooks[1], own.get("target"), objects)
        for note in dict.fromkeys((*objects.notes, *source.notes, *target.notes)):
            runtime.progress.note(note)
        check_generation(recipe, target)
        check_directions(recipe, source)
        check_together(recipe, source, target)
        source = beside(source, target)
        for note in (*pooling_notes(source, target), *storage_notes(recipe.collect)):
            runtime.progress.note(note)
        if recipe.data.test is None and "test" in splits:
            runtime.progress.note("the recipe has no data.test part: the map is fitted, but nothing will be measured")
        samples = {}
        with timings.stage("load.data"):
            for split in splits:
                data = getattr(recipe.data, split)
                if data is not None:
                    samples[split] = load_samples(data, source.preparer, target.preparer, split, given=objects.data)
        check_tokens(recipe, source, target, samples)
        if recipe.directions == "both":
            check_tokens(recipe, target, source, {split: one.swapped() for split, one in samples.items()})
        # Of all variants: activations are collected once, with whatever any of them needs.
        forced = any(variant.sequence.align == "forced" for _, variant in recipe.variants())
        return cls(
            source, target, recipe.data, samples, runtime, timings, forced,
            recipe=recipe.name, asked=recipe.collect, objects=objects,
        )  # fmt: skip

    def collect(self, splits: Sequence[str] | None = None) -> Observations:
        """Run both models over the samples of all splits, or of some; returns observations with their frames too."""
        found = self
        for split in self.samples if splits is None else splits:
            with self.timings.stage(f"activations.{split}"):
                found = found._collect(split)
            for note in found._notes(split, found.remarks[split]):
                self.runtime.progress.note(note)
        for note in found._padding_notes():
            self.runtime.progress.note(note)
        return found

    def _collect(self, split: str) -> Observations:
        """Observations with the frames of one split too; those of the fit are of samples that can be paired."""
        sides = (self.source, self.target)
        samples, cut = self.samples[split], [self._cut_rows(split, side) for side in range(2)]
        if split == "fit" and (unpaired := _unpaired(sides, cut)):
            samples = _without(samples, unpaired, sides, cut)
            cut = [[i for i in rows if i not in unpaired] for rows in cut]
        # Said once, not for each split.
        broken = [trouble()] if split == next(iter(self.samples)) and self._hears() else []
        told = [f"{split}: {len(rows)} {_lost(side)}" for side, rows in zip(sides, cut) if rows]
        remarks = {**self.remarks, split: (*(note for note in broken if note), *told)}
        here = replace(self, samples={**self.samples, split: samples}, remarks=remarks)
        return replace(here, frames={**self.frames, split: here._collected(split)})

    def _collected(self, split: str) -> Frames:
        samples = self.samples[split]
        stamp = data_stamp(getattr(self.data, split), split, (samples.whole or samples).table)
        forced = self.forced and split == "fit"
        return collect(self.source, self.target, samples, split, self.runtime, stamp, forced, self.recipe, self.asked)

    def _hears(self) -> bool:
        return "audio" in (self.source.preparer.modality, self.target.preparer.modality)

    def _cut_rows(self, split: str, side: int) -> list[int]:
        """The samples of which source (0) or target (1) reads a part alone."""
        samples, preparer = self.samples[split], (self.source, self.target)[side].preparer
        if not preparer.cuts:
            return []
        raw = (samples.source, samples.target)[side]
        return [i for i in range(len(samples)) if preparer.cut(raw(i)) is not None]

    @property
    def notes(self) -> list[str]:
        """What was noticed of both models, and of the samples of all splits when they were loaded and collected."""
        told = (*self.objects.notes, *self.source.notes, *self.target.notes, *self._padding_notes())
        models = list(dict.fromkeys(told))
        models += [*pooling_notes(self.source, self.target), *storage_notes(self.asked)]
        return models + [note for split in self.samples for note in self._notes(split, self.remarks.get(split, ()))]

    def _padding_notes(self) -> list[str]:
        """How models run that do not take any padded batch, and what that costs."""
        found = []
        for role, end in (("source", self.source), ("target", self.target)):
            told = end.padding.told(end.preparer.padding_side)
            if told is not None:
                found.append(f"{end.side.model} {told}{self._cost_of_passes(role, end)}")
            if end.padding.random:
                found.append(f"{end.side.model} {end.padding.told_of_chance}")
        return list(dict.fromkeys(found))

    def _cost_of_passes(self, role: str, end: HookedModel) -> str:
        """How many forward passes the samples took beside how many batches they are."""
        mode = end.padding.on(end.preparer.padding_side)
        batches = passes = count = 0
        for frames in self.frames.values():
            lengths = (frames.source if role == "source" else frames.target).lengths
            for bucket in frames.buckets:
                own = lengths[list(bucket)]
                batches, count = batches + 1, count + len(own)
                passes += len(own) if mode == "single" else len(own.unique())
        if not batches:
            return ""
        return f"; its {count} samples took {passes} or more forward passes where {batches} would do"

    def _notes(self, split: str, remarks: Sequence[str]) -> list[str]:
        samples = self.samples[split]
        return [*samples.remarks, *remarks, *samples.decoding]

    @property
    def own_inputs(self) -> dict[Role, MakeInputs]:
        """The functions by which models are probed that are the user's own, by side."""
        return {role: end.make_inputs for role, end in zip(SIDES, (self.source, self.target)) if end.own_inputs}

    def swapped(self) -> Observations:
        """The same observations from target to source; nothing is collected anew.

        Raises:
            ActivationError: the source has no answers to compare with.
        """
        return replace(
            self,
            source=self.target,
            target=self.source,
            samples={split: samples.swapped() for split, samples in self.samples.items()},
            frames={split: frames.swapped() for split, frames in self.frames.items()},
            direction="backward" if self.direction == "forward" else "forward",
        )


def check_generation(recipe: Recipe, target: HookedModel) -> None:
    """RecipeError when a recipe says how a target is to generate that does not."""
    writes = target.text_output
    if recipe.generation.settings() and (writes is None or writes.mode == "ctc"):
        raise RecipeError(f"generation: {recipe.target.model} generates no tokens; leave out what is set there")


def check_directions(recipe: Recipe, source: HookedModel) -> None:
    """ActivationError when a recipe asks for the way back to a source whose own answers are not collected."""
    answers = source.text_output is not None or source.vector_head is not None
    if recipe.directions == "both" and not answers and getattr(source.model.config, "is_encoder_decoder", False):
        raise ActivationError(
            f"directions: both needs a source that answers, such as a classifier; {source.side.model} is an "
            "encoder-decoder, of which the encoder alone runs as a source: leave it out, or swap the models"
        )


def pooling_notes(source: HookedModel, target: HookedModel) -> list[str]:
    """Which models make their vectors by default, for nobody said how."""
    return [
        f"{end.side.model}: its vector is the mean of its states over real positions, {end.vector_head.origin}; "
        f"`{role}.pooling` takes another"
        for role, end in zip(SIDES, (source, target))
        if end.vector_head is not None and end.vector_head.by_default
    ]


def check_together(recipe: Recipe, source: HookedModel, target: HookedModel) -> None:
    """RecipeError when a recipe counts the tokens of what is no text."""
    for role, end in zip(SIDES, (source, target)):
        if recipe.collect.tokens is not None and end.preparer.modality != "text":
            raise RecipeError(
                f"collect.tokens: counts the tokens of texts, which both models must read; the {role} "
                f"{end.side.model} reads {end.preparer.modality}: leave it out"
            )


def storage_notes(asked: Collect) -> list[str]:
    """What a reader should know of how activations were stored."""
    if asked.dtype is None:
        return []
    return [f"activations were stored in {asked.dtype} (`collect.dtype`), with three digits; answers were not"]


def _lost(end: HookedModel) -> str:
    """What becomes of the inputs that a model cuts, in words that follow their number."""
    kind, most = end.preparer.modality, end.preparer.most
    if kind == "image":
        return f"pictures are no squares: {end.side.model} reads their middle alone, the rest of them is left out"
    what = "texts" if kind == "text" else "sounds"
    return f"{what} are longer than the {most} that {end.side.model} reads; the rest of them is left out"


def _unpaired(ends: tuple[HookedModel, HookedModel], cut: Sequence[Sequence[int]]) -> set[int]:
    """Samples whose sound one model reads in part and the other whole: what it does not hear would be paired too."""
    source, target = (end.preparer for end in ends)
    alike = source.modality == target.modality and source.most == target.most
    cut_sounds = {i for end, rows in zip((source, target), cut) if end.modality == "audio" for i in rows}
    return cut_sounds - (set(cut[0]) & set(cut[1]) if alike else set())


def _without(
    samples: Samples, unpaired: set[int], ends: tuple[HookedModel, HookedModel], cut: Sequence[Sequence[int]]
) -> Samples:
    """The samples that can be paired, with a remark on the others.

    Raises:
        DataError: there are none.
    """
    end = next(end for end, rows in zip(ends, cut) if end.preparer.modality == "audio" and unpaired & set(rows))
    reads = f"{end.side.model} reads {end.preparer.most} of"
    kept = [i for i in range(len(samples)) if i not in unpaired]
    if not kept:
        todo = "cut the sounds and their texts into shorter ones"
        raise DataError(f"{samples.name}: {reads} all {len(samples)} sounds, the other model more of them; {todo}")
    note = f"{len(unpaired)} of {len(samples)} samples are left out: {reads} their sounds, the other model more of them"
    return replace(samples.take(kept), remarks=[*samples.remarks, f"{samples.name}: {note}"])
