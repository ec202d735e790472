"""The folder that a fit writes: what may be in it before, what is in it after."""

from __future__ import annotations

import json
import shutil
from contextlib import AbstractContextManager
from pathlib import Path

import yaml
from safetensors import SafetensorError, safe_open

from hf_stitch.activations.hooked_model import HookedModel
from hf_stitch.errors import ArtifactError, StitchError
from hf_stitch.experiments import finished_rows
from hf_stitch.experiments.claim import CLAIM, unfinished
from hf_stitch.experiments.stamps import Stamps, changed_stamps
from hf_stitch.loading.processors import TARGET_FOLDER
from hf_stitch.loading.quiet import quiet
from hf_stitch.loading.safetensors_only import weight_files
from hf_stitch.models.companions import RECIPE, Companions
from hf_stitch.models.configuration_stitched import StitchedConfig
from hf_stitch.models.files_digest import check_whole, seal
from hf_stitch.models.hub.shim import FILE
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.models.weights_digest import changed_file
from hf_stitch.recipe.public import is_public
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.report.report import SCHEMA, Report
from hf_stitch.runtime.files import drop_scratch, report_full_disk, write_text

REPORT = "report.json"
WRITTEN = (
    *("recipe.yaml", "report.json", "report.html", "README.md", "config.json", "generation_config.json", FILE),
    *("model.safetensors", "model-*-of-*.safetensors", "model.safetensors.index.json"),
    *("preprocessor_config.json", "processor_config.json", "tokenizer.json", "tokenizer_config.json"),
    *("special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "vocab.json", "vocab.txt", "merges.txt"),
    *("spiece.model", "sentencepiece.bpe.model", "tokenizer.model", TARGET_FOLDER, finished_rows.FILE),
)
"""What a fit writes: nothing else in a folder is ever touched."""


def check_output_folder(
    folder: Path,
    recipe: Recipe,
    stamps: Stamps | None = None,
    overwrite: bool = False,
    interrupted: bool | None = None,
) -> bool:
    """Make sure that the folder may be written; True when it already holds this recipe's finished result.

    What is no finished result (of a failed or interrupted fit, damaged, with files lost) may be written over.

    Args:
        stamps: of what the result is to be made, see `stamps_of`; reports of 0.1.0 have none and are taken as they are.
        overwrite: a result that is there, of whatever recipe, is to be replaced.
        interrupted: whether a fit that did not end left its mark; looked for, if absent.

    Raises:
        ArtifactError: the folder holds something else, or a result of another recipe, data, models, device or dtype,
            or another fit writes it now.
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
    there = next((place for place in folder.parents if place.exists()), folder)
    if there != folder and not there.is_dir():
        raise ArtifactError(f"{there}, in which {folder} would lie, is no folder; give another --out")
    if interrupted is None:
        interrupted = unfinished(folder)
    if interrupted or not _names(folder):
        return False
    known, report = _recipe_of(folder), _report_of(folder)
    fingerprint = known.fingerprint() if known is not None else None
    if report is not None and (known is None or is_public(known.plain())):
        fingerprint = report.fingerprint  # of the recipe with the places that are not told
    # The report is written last, but may be of a run before a change of recipe.yaml.
    finished = report is not None and report.fingerprint == fingerprint and damage(folder) is None
    if not finished and not _is_ours(folder, known, report):
        held = ", ".join(_names(folder)[:4])
        what = f"{folder} holds something else ({held})"
        if (folder / RECIPE).is_file() and known is None:
            what = f"{folder / RECIPE} is no recipe of this version"
        raise ArtifactError(f"{what}; give another --out, or empty it yourself")
    if overwrite or not finished:
        return False
    if fingerprint != recipe.fingerprint():
        raise ArtifactError(
            f"{folder} holds the result of another recipe (fingerprint {fingerprint}, asked "
            f"{recipe.fingerprint()}); give another --out, or --overwrite"
        )
    told = None if report is None else report.environment.get("stamps")
    if changed := changed_stamps(told, stamps or {}):
        raise ArtifactError(
            f"{folder} holds the result of this recipe with another {', another '.join(changed)} than now; give "
            "another --out, or --overwrite to fit it again"
        )
    return known is not None


def damage(folder: Path) -> str | None:
    """What is wrong with a saved model, as far as can be told without loading it; None where nothing is."""
    try:
        if not isinstance(json.loads((folder / "config.json").read_text(encoding="utf-8")), dict):
            return "config.json holds no configuration"
        check_whole(folder)
        files = weight_files(str(folder))
        if (changed := changed_file(str(folder), files)) is not None:
            return f"{changed} is not what was saved"
        for name in files:
            if name.endswith(".safetensors"):
                with safe_open(folder / name, framework="pt"):
                    pass
    except (OSError, ValueError, SafetensorError, ArtifactError) as error:
        return str(error).splitlines()[0]
    return None


def open_folder(folder: Path, recipe: Recipe, anew: bool = False) -> None:
    """Write the recipe, and delete what an earlier fit left: of two recipes nothing may come together.

    Args:
        anew: rows of the comparison that a stopped fit of this recipe wrote are not to be taken up.
    """
    with _full_disk(folder):
        # Its presence says that all is there, and from now on that is not so.
        (folder / REPORT).unlink(missing_ok=True)
        for place in (folder, folder / TARGET_FOLDER):
            drop_scratch(place)
        if anew:
            (folder / finished_rows.FILE).unlink(missing_ok=True)
        held = _recipe_of(folder)
        if held is None or held.fingerprint() != recipe.fingerprint():
            for path in (path for name in WRITTEN for path in folder.glob(name)):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
        write_text(folder / RECIPE, recipe.dump())


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != CLAIM) if folder.is_dir() else []


def _recipe_of(folder: Path) -> Recipe | None:
    """The recipe of a folder; None where there is none that can be read."""
    try:
        return Recipe.parse(yaml.safe_load((folder / RECIPE).read_text(encoding="utf-8")))
    except (OSError, StitchError, yaml.YAMLError, TypeError, ValueError):  # not YAML, no mapping, or not even text
        return None


def _report_of(folder: Path) -> Report | None:
    """The report of a folder; None where there is none, or a damaged one.

    Raises:
        ArtifactError: one of another version, which is a result all the same.
    """
    try:
        plain = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if isinstance(plain, dict) and isinstance(plain.get("schema"), int) and plain["schema"] != SCHEMA:
        return Report.from_dict(plain, str(folder / REPORT))  # which refuses it
    try:
        return Report.from_dict(plain, str(folder / REPORT))
    except ArtifactError:
        return None


def _is_ours(folder: Path, known: Recipe | None, report: Report | None) -> bool:
    """Whether what is there, though no finished result, was written by a fit and by nobody else."""
    if report is not None:
        return True
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if config.get("model_type") == StitchedConfig.model_type:
            return True
    except (OSError, ValueError, AttributeError):  # none, no JSON, or no mapping
        pass
    # A fit that ended early: its recipe, letter by letter, and no file that it would write next.
    text = (folder / RECIPE).read_bytes() if known is not None else b""
    alone = not any(path for name in WRITTEN if name != RECIPE for path in folder.glob(name))
    return known is not None and alone and text == known.dump().encode()


def save_model(folder: Path, model: StitchedModel, source: HookedModel, target: HookedModel) -> None:
    """Weights, config, and what prepares the inputs."""
    with _full_disk(folder), quiet():
        model.save_pretrained(folder)
        for weights in folder.glob("*.safetensors"):  # safetensors makes files that only their owner may read
            weights.chmod((folder / "config.json").stat().st_mode & 0o666)
        Companions.of(model, source, target).save(folder)
        seal(folder)


def _full_disk(folder: Path) -> AbstractContextManager[None]:
    full = ArtifactError(f"no space left for {folder}: free some and run again; what was computed is kept")
    return report_full_disk(full)
