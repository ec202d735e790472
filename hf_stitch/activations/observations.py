"""What was seen: two opened models, their samples by split, and the activations of both sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from hf_stitch.activations.collection import collect
from hf_stitch.activations.frames import Frames
from hf_stitch.activations.hooked_model import HookedModel, open_hooked_model
from hf_stitch.errors import RecipeError
from hf_stitch.loading.provenance import data_stamp
from hf_stitch.loading.samples import Samples, load_samples
from hf_stitch.recipe.data import Splits
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.recipe.side import Direction
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

    @classmethod
    def open(
        cls,
        recipe: Recipe,
        runtime: Runtime,
        timings: Timings,
        splits: Sequence[str] = SPLITS,
        hooks: tuple[Sequence[str], Sequence[str]] = ((), ()),
    ) -> Observations:
        """Load models and data and check them; nothing long is done yet.

        Args:
            hooks: further hook points of source and target, collected in the same pass; see `Frames.at`.

        Raises:
            StitchError: a model, hook point, column or sample that cannot be used.
        """
        with timings.stage("load.models"):
            back = recipe.generation if recipe.directions == "both" else None
            source = open_hooked_model(recipe.source, runtime, back, hooks[0])
            target = open_hooked_model(recipe.target, runtime, recipe.generation, hooks[1])
        check_generation(recipe, target)
        if recipe.data.test is None and "test" in splits:
            runtime.progress.note("the recipe has no data.test part: the map is fitted, but nothing will be measured")
        samples = {}
        with timings.stage("load.data"):
            for split in splits:
                data = getattr(recipe.data, split)
                if data is not None:
                    samples[split] = load_samples(data, source.preparer, target.preparer, split)
        # Of all variants: activations are collected once, with whatever any of them needs.
        forced = any(variant.sequence.align == "forced" for _, variant in recipe.variants())
        return cls(source, target, recipe.data, samples, runtime, timings, forced)

    def collect(self, splits: Sequence[str] | None = None) -> Observations:
        """Run both models over the samples of all splits, or of some; returns observations with their frames too."""
        frames, remarks = dict(self.frames), dict(self.remarks)
        for split in self.samples if splits is None else splits:
            with self.timings.stage(f"activations.{split}"):
                frames[split] = self._collected(split)
            # Said once, not for each split.
            first = split == next(iter(self.samples))
            broken = [trouble()] if first and self._hears() else []
            remarks[split] = (*(note for note in broken if note), *self._cut_texts(split))
            for note in self._notes(split, remarks[split]):
                self.runtime.progress.note(note)
        return replace(self, frames=frames, remarks=remarks)

    def _collected(self, split: str) -> Frames:
        samples = self.samples[split]
        stamp = data_stamp(getattr(self.data, split), split, (samples.whole or samples).table)
        forced = self.forced and split == "fit"
        return collect(self.source, self.target, samples, split, self.runtime, stamp, forced)

    def _hears(self) -> bool:
        return "audio" in (self.source.preparer.modality, self.target.preparer.modality)

    def _cut_texts(self, split: str) -> list[str]:
        """Notes about texts that are longer than a model reads."""
        samples, notes = self.samples[split], []
        for raw, hooked in ((samples.source, self.source), (samples.target, self.target)):
            preparer = hooked.preparer
            if preparer.modality == "text" and preparer.max_length is not None:
                count = sum(preparer.cut(raw(i)) is not None for i in range(len(samples)))
                if count:
                    most = f"the {preparer.max_length} tokens that {hooked.side.model} reads"
                    notes.append(f"{split}: {count} texts are longer than {most}; the rest of them is left out")
        return notes

    @property
    def notes(self) -> list[str]:
        """What was noticed of the samples of all splits: when they were loaded, collected and decoded."""
        return [note for split in self.samples for note in self._notes(split, self.remarks.get(split, ()))]

    def _notes(self, split: str, remarks: Sequence[str]) -> list[str]:
        samples = self.samples[split]
        return [*samples.remarks, *remarks, *samples.decoding]

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
