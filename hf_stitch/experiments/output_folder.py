"""The folder that a fit writes: what may be in it before, what is in it after."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import yaml

from hf_stitch.activations.hooked_model import HookedModel
from hf_stitch.errors import ArtifactError, StitchError
from hf_stitch.loading.processors import TARGET_FOLDER, Preparer
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.models.tasks import spells
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.report.report import Report
from hf_stitch.runtime.files import report_full_disk

RECIPE, REPORT, WEIGHTS = "recipe.yaml", "report.json", "model.safetensors"


def check_output_folder(folder: Path, recipe: Recipe) -> bool:
    """Make sure that the folder may be written; True when it already holds this recipe's finished result.

    Raises:
        ArtifactError: the folder holds something else.
    """
    try:
        folder.exists()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ArtifactError(
            f"{str(folder)[:80]}...: no folder can have this name ({why}); give another --out"
        ) from None
    if folder.is_file():
        raise ArtifactError(f"{folder} is a file; give --out a folder")
    if not folder.exists() or not any(folder.iterdir()):
        return False
    if not (folder / RECIPE).is_file():
        held = ", ".join(sorted(p.name for p in folder.iterdir())[:4])
        raise ArtifactError(f"{folder} holds something else ({held}); give another --out, or empty it yourself")
    try:
        known = Recipe.parse(yaml.safe_load((folder / RECIPE).read_text(encoding="utf-8")))
    except (StitchError, yaml.YAMLError, TypeError, ValueError):  # not YAML, no mapping, or not even text
        raise ArtifactError(f"{folder / RECIPE} is no recipe of this version; give another --out") from None
    if known.fingerprint() != recipe.fingerprint():
        raise ArtifactError(
            f"{folder} holds the result of another recipe (fingerprint {known.fingerprint()}, asked "
            f"{recipe.fingerprint()}); give another --out, or delete the folder"
        )
    if not (folder / REPORT).is_file() or not (folder / WEIGHTS).is_file():
        return False
    # The report is written last, but may be of a run before a change of recipe.yaml.
    return Report.load(folder / REPORT).fingerprint == recipe.fingerprint()


def open_folder(folder: Path, recipe: Recipe) -> None:
    """Create the folder with its recipe, which marks it as ours should the run be interrupted."""
    with _full_disk(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / RECIPE).write_text(recipe.dump(), encoding="utf-8")


def save_model(folder: Path, model: StitchedModel, source: HookedModel, target: HookedModel) -> None:
    """Weights, config, and what prepares the inputs."""
    with _full_disk(folder):
        model.save_pretrained(folder)
        for weights in folder.glob("*.safetensors"):  # safetensors makes files that only their owner may read
            weights.chmod((folder / "config.json").stat().st_mode & 0o666)
        preparer = model.rule.preparer(source, target)
        preparer.save(folder)
        if spells(model.config) and target.tokenizer is not None:
            save_speller(folder, preparer, target.tokenizer)
        elif source.preparer.modality == "audio" and source.tokenizer is not None:
            source.tokenizer.save_pretrained(folder)


def save_speller(folder: Path, preparer: Preparer, tokenizer: Any) -> None:
    """The target's tokenizer, which spells its answers; for transformers' speech pipeline also as that of the model."""
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.save_pretrained(str(folder / TARGET_FOLDER))
    if preparer.modality == "audio":
        tokenizer.padding_side = preparer.tool.padding_side  # the pipeline wants one side of both
        tokenizer.save_pretrained(str(folder))


def _full_disk(folder: Path) -> AbstractContextManager[None]:
    full = ArtifactError(f"no space left for {folder}: free some and run again; what was computed is kept")
    return report_full_disk(full)
