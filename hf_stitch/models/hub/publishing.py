"""To the Hub: a stitched model with its processors, recipe, report and card, in one commit."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from hf_stitch.errors import ArtifactError
from hf_stitch.models.files_digest import check_as_saved, is_sealed, seal
from hf_stitch.models.hub.map_only import MAP_ONLY, portable
from hf_stitch.models.hub.public_copy import PublicCopy, public_copy
from hf_stitch.models.hub.repository import KEPT, WEIGHTS, explained, local
from hf_stitch.models.hub.shim import FILE
from hf_stitch.recipe.names import is_in_memory
from hf_stitch.recipe.public import named_in

NEEDED = ("config.json", "recipe.yaml", "report.json", "README.md")  # what `fit` writes, beside weights


def push_model(
    model: PreTrainedModel,
    repo_id: str,
    *,
    private: bool | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    commit_message: str | None = None,
    max_shard_size: int | str = "5GB",
    **more: Any,
) -> str:
    """Upload a model as it is now, beside the processors, recipe, report and card of the folder that it came from.

    Args:
        repo_id: `NAME/MODEL`; made if it is not there.
        revision: branch to push to; made if it is not there.
        more: `create_pr`, `commit_description` of huggingface_hub's `upload_folder`.

    Returns:
        Address of the commit.

    Raises:
        ArtifactError: the model came from no folder and from no repository, or is thin over a local folder.
        HubError: the Hub refuses.
    """
    if told := not_rerun(getattr(model.config, "recipe", None)):
        warnings.warn(told, UserWarning, stacklevel=3)
    with model_folder(model, max_shard_size) as folder:
        return push_folder(
            folder, repo_id, private=private, revision=revision, token=token, message=commit_message, **more
        )


def not_rerun(recipe: Any) -> str | None:
    """What is told before a model goes out whose recipe names what was in memory; None of any other."""
    held = list(dict.fromkeys(name for name in named_in(recipe) if is_in_memory(name)))
    if not held:
        return None
    return (
        f"{', '.join(held)} was in memory, so that the recipe cannot be run again by others or from its file; "
        "the model itself is whole"
    )


@contextmanager
def model_folder(model: PreTrainedModel, max_shard_size: int | str = "5GB") -> Iterator[Path]:
    """A folder, for as long as this lasts, with a model as it is now and what lies beside it where it came from.

    Raises:
        ArtifactError: it came from no folder and from no repository.
    """
    origin = model.name_or_path
    beside = getattr(model, "companions", None)
    if beside is not None and beside.report is not None:
        with tempfile.TemporaryDirectory() as scratch:
            model.save_pretrained(scratch, max_shard_size=max_shard_size)
            yield Path(scratch)
        return
    if not origin:
        raise ArtifactError(
            "this stitched model has no folder, so nothing is known of its processors, recipe and report: give "
            "fit(..., out=DIR), or load it by StitchedModel.from_pretrained(DIR), then push"
        )
    beside = local(origin, getattr(model.config, "_commit_hash", None), weights=False)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        # First, so that what the model itself writes replaces its older form.
        copy_companions(beside, folder)
        model.save_pretrained(folder, max_shard_size=max_shard_size)
        seal(folder)
        yield folder


def push_folder(
    folder: Path,
    repo_id: str,
    *,
    private: bool | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    message: str | None = None,
    **more: Any,
) -> str:
    """Upload what `fit` wrote, with names in the place of paths; files of other kinds stay here.

    Returns:
        Address of the commit.

    Raises:
        ArtifactError: the folder holds no whole stitched model, or a thin one over a folder of this machine.
        HubError: the Hub refuses.
    """
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    with public_form(folder, repo_id) as public, explained(repo_id, revision):
        known = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        if revision is not None:
            api.create_branch(known, branch=revision, exist_ok=True)
        made = api.upload_folder(
            repo_id=known,
            folder_path=public.folder,
            revision=revision,
            allow_patterns=list(KEPT),
            delete_patterns=list(WEIGHTS),  # shards of an earlier push
            commit_message=message or "Upload a stitched model",
            **more,
        )
    return str(made.commit_url)


@contextmanager
def public_form(folder: Path, repo_id: str) -> Iterator[PublicCopy]:
    """What `push_folder` uploads, for as long as this lasts. Raises ArtifactError as that does."""
    check_folder(folder)
    with tempfile.TemporaryDirectory() as scratch:
        public = public_copy(folder, Path(scratch), repo_id)
        if is_sealed(folder):  # names were put in the place of paths
            seal(public.folder)
        yield public


def check_folder(folder: Path) -> None:
    """ArtifactError unless the folder holds a finished stitched model that others can load."""
    # Here: the model's own file imports this one.
    from hf_stitch.models.configuration_stitched import StitchedConfig

    missing = [name for name in NEEDED if not (folder / name).is_file()]
    missing += [] if any(folder.glob("*.safetensors")) else ["model.safetensors"]
    if missing:
        raise ArtifactError(
            f"{folder}: {', '.join(missing)} missing; expected a folder that `hf-stitch fit` wrote to the end"
        )
    config = StitchedConfig.from_pretrained(folder)
    check_as_saved(folder)
    if config.save == MAP_ONLY and (place := portable(config)):
        raise ArtifactError(
            f"{folder} holds the map alone, and its base model {place} is a folder of this machine, which nobody else "
            "has: push the full form (`--form full`)"
        )


def left_out(folder: Path) -> list[str]:
    """Files of the folder that are not pushed."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return sorted(
        path.relative_to(folder).as_posix() for path in files if not any(fnmatch(path.name, one) for one in KEPT)
    )


def copy_companions(beside: Path, folder: Path) -> None:
    """Copy everything that `save_pretrained` of the model does not write."""
    for path in beside.rglob("*"):
        own = any(fnmatch(path.name, one) for one in WEIGHTS) or path.name in ("config.json", FILE)
        if path.is_file() and not own and any(fnmatch(path.name, one) for one in KEPT):
            place = folder / path.relative_to(beside)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
