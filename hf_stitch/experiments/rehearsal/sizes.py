"""How a recipe is made small enough to rehearse, and by how much the real run is larger."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hf_stitch.activations.collection import SEQUENCE_BATCH, batch_size
from hf_stitch.activations.hooked_model import HookedModel
from hf_stitch.activations.local_metrics import at_once
from hf_stitch.errors import RecipeError
from hf_stitch.experiments.rehearsal.synthetic import write_samples
from hf_stitch.loading.samples import Samples, load_samples
from hf_stitch.loading.tables import open_table
from hf_stitch.recipe.data import Data
from hf_stitch.recipe.names import is_local
from hf_stitch.recipe.recipe import Recipe

SPLITS = ("fit", "validation", "test")
SECONDS, TEXT, FIT, TESTED, VECTORS, NEIGHBOURS = 2.0, 40, 4, 2, 64, 3
"""At most so many seconds of sound, words, samples to fit, to test, neighbours; VECTORS: if of numbers. By hand."""


@dataclass(frozen=True)
class Sizes:
    """What is rehearsed, and what the recipe asks for.

    Attributes:
        samples: rehearsed samples of the fit, `tested` those of the other splits.
        real: the recipe's samples, by split; `counted` says which of them are known.
        stretch: typical length of an input over the rehearsed one.
        neighbours: rehearsed, and `real_neighbours` the recipe's; 0 where none are needed.
        bucket: samples that run together in the real run. tokens: of them, where that was asked for.
    """

    samples: int
    tested: int
    real: dict[str, int]
    counted: dict[str, bool]
    stretch: float
    neighbours: int
    real_neighbours: int
    bucket: int
    tokens: int | None = None

    @classmethod
    def of(cls, recipe: Recipe, ends: tuple[HookedModel, HookedModel]) -> Sizes:
        kinds = {end.preparer.modality for end in ends}
        vectors = kinds == {"vector"}
        real, counted = {}, {}
        for split in SPLITS:
            if (data := getattr(recipe.data, split)) is not None:
                real[split], counted[split] = _count(data, split, recipe.rehearse.samples)
        asked = recipe.rehearse
        stretch = 1.0
        if all(is_at_hand(getattr(recipe.data, split)) for split in real):
            pass  # the data's own lengths
        elif "audio" in kinds:
            stretch = max(1.0, asked.seconds / SECONDS)
        elif "text" in kinds:
            stretch = max(1.0, asked.words / TEXT)
        mapped = recipe.stitch.needs_metric and recipe.neighborhoods.kind != "none"
        size = recipe.neighborhoods.size if mapped else 0
        rank = recipe.neighborhoods.rank
        # k neighbours show at most k directions.
        needed = max(NEIGHBOURS, rank + 1 if isinstance(rank, int) else 0)
        together = min(batch_size(end) for end in ends)
        if recipe.collect.tokens is not None:
            together = max(1, recipe.collect.tokens // asked.words)
        bucket = min(real["fit"], together)
        return cls(
            samples=min(VECTORS if vectors else FIT, real["fit"]),
            tested=VECTORS if vectors else TESTED,
            real=real,
            counted=counted,
            stretch=stretch,
            neighbours=min(size, max(VECTORS, needed) if vectors else needed),
            real_neighbours=size,
            bucket=bucket,
            tokens=recipe.collect.tokens,
        )

    def rows_at_once(self, modality: str, steps: int) -> int:
        """Neighbours of all samples of a real batch that run together, where a sample has so many timesteps."""
        batch = min(self.bucket, SEQUENCE_BATCH) if self.tokens else self.bucket
        return batch * min(self.real_neighbours, at_once(modality, batch, steps, self.tokens))


def small_recipe(recipe: Recipe, sizes: Sizes, ends: tuple[HookedModel, HookedModel], scratch: Path) -> Recipe:
    """The recipe on a few samples: those of local data, synthetic ones in place of data of the Hub."""
    asked = recipe.rehearse
    parts = {}
    for split in sizes.real:
        data = getattr(recipe.data, split)
        count = min(sizes.samples if split == "fit" else sizes.tested, sizes.real[split])
        if is_at_hand(data):
            parts[split] = data.model_copy(update={"samples": count})
        else:
            words = max(2, round(asked.words / sizes.stretch))
            path = scratch / f"{split}.parquet"
            parts[split] = write_samples(data, ends, count, asked.seconds / sizes.stretch, words, path)
    return recipe.model_copy(
        update={
            "data": recipe.data.model_copy(update=parts),
            "neighborhoods": recipe.neighborhoods.model_copy(update={"size": max(1, sizes.neighbours)}),
        }
    )


def load_all(recipe: Recipe, ends: tuple[HookedModel, HookedModel]) -> dict[str, Samples]:
    """The samples of every split; a handful may well be of one class."""
    source, target = (end.preparer for end in ends)
    parts = {split: getattr(recipe.data, split) for split in SPLITS}
    return {
        split: load_samples(data, source, target, split, check_labels=False)
        for split, data in parts.items()
        if data is not None
    }


def is_at_hand(data: Data) -> bool:
    return is_local(data.dataset) or Path(data.dataset).suffix in (".csv", ".jsonl", ".parquet")


def _count(data: Data, split: str, otherwise: int) -> tuple[int, bool]:
    if is_at_hand(data):
        rows = len(open_table(data, split).rows)
        if rows == 0:
            raise RecipeError(f"data.{split}: {data.dataset} has no rows; expected at least one sample")
        return min(rows, data.samples or rows), True
    return data.samples or otherwise, data.samples is not None
