"""An opened recipe: both ends, the samples, and what was seen of them; shared by variants that differ in the map."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from hf_stitch.activations.collection import collect
from hf_stitch.activations.frames import Frames
from hf_stitch.activations.hooked_model import HookedModel, open_hooked_model
from hf_stitch.activations.local_metrics import Role, collect_metric
from hf_stitch.errors import RecipeError
from hf_stitch.geometry.local_metrics.local_metric import LocalMetric
from hf_stitch.loading.provenance import data_stamp
from hf_stitch.loading.samples import Samples, load_samples
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.runtime.runtime import Runtime
from hf_stitch.runtime.timings import Timings
from hf_stitch.runtime.torchaudio_extra import trouble
from hf_stitch.stitching.lengths.learn import make_rule
from hf_stitch.stitching.lengths.rule import LengthRule
from hf_stitch.stitching.lengths.target_texts import TargetTexts
from hf_stitch.stitching.pairing import Pairing, pair_rows

SPLITS = ("fit", "validation", "test")


@dataclass
class Observations:
    """One pair of ends with its data.

    Attributes:
        samples, frames: by split (`fit`, `validation`, `test`), those that the recipe has.
        direction: `forward`, or `backward` when the ends are swapped.
    """

    recipe: Recipe
    runtime: Runtime
    timings: Timings
    source: HookedModel
    target: HookedModel
    samples: dict[str, Samples]
    frames: dict[str, Frames] = field(default_factory=dict)
    direction: str = "forward"
    _texts: dict[tuple[str, str, str], TargetTexts] = field(default_factory=dict)
    _metrics: dict[tuple[str, str], tuple[LocalMetric, dict]] = field(default_factory=dict)

    @classmethod
    def open(cls, recipe: Recipe, runtime: Runtime, timings: Timings, splits: tuple[str, ...] = SPLITS) -> Observations:
        """Load models and data and check them; nothing long is done yet.

        Raises:
            StitchError: a model, hook point, column or sample that cannot be used.
        """
        with timings.stage("load.models"):
            back = recipe.generation if recipe.directions == "both" else None
            source, target = (
                open_hooked_model(recipe.source, runtime, back),
                open_hooked_model(recipe.target, runtime, recipe.generation),
            )
        check_writer(recipe, target)
        if recipe.data.test is None and "test" in splits:
            runtime.progress.note("the recipe has no data.test part: the map is fitted, but nothing will be measured")
        samples = {}
        with timings.stage("load.data"):
            for split in splits:
                data = getattr(recipe.data, split)
                if data is not None:
                    samples[split] = load_samples(data, source.preparer, target.preparer, split)
        broken = trouble()
        if broken and "audio" in (source.preparer.modality, target.preparer.modality):
            next(iter(samples.values())).remarks.append(broken)
        return cls(recipe, runtime, timings, source, target, samples)

    def collect(self) -> Observations:
        """Run both models over all samples; returns the observations with their frames."""
        forced = any(recipe.sequence.align == "forced" for _, recipe in self.recipe.variants())
        for split, samples in self.samples.items():
            with self.timings.stage(f"activations.{split}"):
                data = data_stamp(getattr(self.recipe.data, split))
                ends = self.source, self.target
                self.frames[split] = collect(*ends, samples, split, self.runtime, data, forced and split == "fit")
            samples.remarks += self._cut_texts(split)
            for note in samples.notes:
                self.runtime.progress.note(note)
        return self

    def _cut_texts(self, split: str) -> list[str]:
        """Notes about texts that are longer than a model reads."""
        samples, notes = self.samples[split], []
        for raw, end in ((samples.source, self.source), (samples.target, self.target)):
            preparer = end.preparer
            if preparer.modality == "text" and preparer.max_length is not None:
                count = sum(preparer.cut(raw(i)) is not None for i in range(len(samples)))
                if count:
                    most = f"the {preparer.max_length} tokens that {end.side.model} reads"
                    notes.append(f"{split}: {count} texts are longer than {most}; the rest of them is left out")
        return notes

    def swapped(self) -> Observations:
        """The same observations from target to source; nothing is collected anew."""
        return replace(
            self,
            source=self.target,
            target=self.source,
            samples={split: samples.swapped() for split, samples in self.samples.items()},
            frames={split: frames.swapped() for split, frames in self.frames.items()},
            direction="backward" if self.direction == "forward" else "forward",
            _texts={},
            _metrics={},
        )

    def texts(self, recipe: Recipe, split: str) -> TargetTexts | None:
        """Tokens of a split's target texts, where the length rule needs them."""
        rule = recipe.sequence.length
        if rule not in ("ctc", "spans"):
            return None
        key = (rule, recipe.sequence.unit, split)
        if key not in self._texts:
            self._texts[key] = TargetTexts.of(self.source, self.target, self.samples[split], recipe.sequence)
        return self._texts[key]

    def rule(self, recipe: Recipe) -> LengthRule:
        """The recipe's length rule, learned from the fit samples."""
        return make_rule(recipe, self.source, self.target, self.frames["fit"], self.texts(recipe, "fit"))

    def pairing(self, recipe: Recipe, rule: LengthRule, split: str) -> Pairing:
        """Corresponding rows of a split."""
        return pair_rows(recipe, rule, self.frames[split], self.samples[split].keys, self.texts(recipe, split))

    def metric(self, recipe: Recipe, role: Role, pairing: Pairing) -> tuple[LocalMetric, dict[str, Any]]:
        """Local metric of the fit rows of one side; collected once for all variants that ask for the same."""
        asked = recipe.model_dump_json(include={"neighborhoods", "sequence", "seed"})
        if (role, asked) not in self._metrics:
            end = self.source if role == "source" else self.target
            find = partial(
                collect_metric, recipe, role, end, self.samples["fit"], self.frames["fit"], pairing, self.runtime
            )
            with self.timings.stage(f"neighbourhoods.{role}"):
                self._metrics[role, asked] = find()
        return self._metrics[role, asked]


def check_writer(recipe: Recipe, target: HookedModel) -> None:
    """RecipeError when a recipe says how a target is to generate that does not."""
    if recipe.generation.settings() and (target.text_output is None or target.text_output.mode == "ctc"):
        raise RecipeError(f"generation: {recipe.target.model} generates no tokens; leave out what is set there")
