"""Checkpoints without safetensors: pickles, which can run code, are never loaded; what to do instead."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from hf_stitch.errors import ArtifactError
from hf_stitch.recipe.names import is_folder

BOT = "SFconvertbot"  # of the Hub: offers a model's weights as safetensors in a pull request
CONVERTER = "https://huggingface.co/spaces/safetensors/convert"
SWITCH = "DISABLE_SAFETENSORS_CONVERSION"  # environment variable of transformers
ADAPTER = "adapter_config.json"
WEIGHTS, INDEX = ".safetensors", ".safetensors.index.json"
WHERE = ("revision", "subfolder", "cache_dir", "token", "local_files_only", "force_download", "proxies")
"""Arguments of `from_pretrained` that say where a repository's files are."""
PICKLES = (".bin", ".bin.index.json", ".ckpt", ".pickle", ".pkl", ".pt", ".pth")  # endings that people give them


@contextmanager
def as_published() -> Iterator[None]:
    """Keep transformers from loading another revision than was asked for: where a model has no safetensors it would
    take the converter's pull request, or have one opened in public, without a word.
    """
    before = os.environ.get(SWITCH)
    os.environ[SWITCH] = "true"
    try:
        yield
    finally:
        if before is None:
            del os.environ[SWITCH]
        else:
            os.environ[SWITCH] = before


def converted(name: str) -> str | None:
    """The revision, such as `refs/pr/3`, at which the Hub's bot offers a model's weights as safetensors.

    None where there is no such pull request that is open, or the Hub cannot be asked.
    """
    from huggingface_hub import get_repo_discussions

    try:
        found = [
            one.git_reference
            for one in get_repo_discussions(name, author=BOT, discussion_type="pull_request")
            if one.author == BOT and one.is_pull_request and one.status == "open"
        ]
    except Exception:  # offline, or no discussions there: the advice does without
        return None
    return str(found[0]) if found else None


def without_safetensors(name: str, revision: str | None) -> str:
    """Why a model without safetensors is not loaded, and what to do: `name` is a folder or a Hub id."""
    said = "no weights in safetensors; expected model.safetensors"
    if is_folder(Path(name)):
        pickled = any(file.is_file() and file.name.endswith(PICKLES) for file in Path(name).iterdir())
        why = ", and pickles are never loaded" if pickled else ""
        return f"{said}{why}: save the model again with save_pretrained"
    offered = converted(name)
    if offered is not None and offered != revision:
        return f"{said}, and pickles are never loaded; the Hub's converter offers them: set `revision: {offered}`"
    return (
        f"{said}, and pickles are never loaded; convert the model at {CONVERTER} and set `revision: refs/pr/NUMBER` "
        "of the pull request that this opens, or save it anew with save_pretrained"
    )


def weight_files(name: str, config: Any = None, variant: str | None = None, **where: Any) -> list[str]:
    """The files that transformers loads the weights from: one, or an index and what it names; all in safetensors.

    transformers itself asks for safetensors by the name of the first file alone: what an index names is loaded by its
    own ending, and of a pickle that is `torch.load`.

    Args:
        name: folder, or Hub id, whose index alone is fetched.
        config: its configuration, or where that is; the one there, if absent.
        where: further arguments of `from_pretrained`; those in `WHERE` are heeded.

    Raises:
        ArtifactError: an index or config.json that names anything but safetensors, or an index that cannot be read.
    """
    if Path(name).is_file() and not name.endswith(WEIGHTS):
        raise ArtifactError(f"{name}: expected weights in safetensors, and pickles are never loaded; give a folder")
    known = {key: value for key, value in where.items() if key in WHERE}
    if config is None or isinstance(config, (str, os.PathLike)):
        chosen = _chosen(str(config or name), **known)
    else:
        chosen = getattr(config, "transformers_weights", None)
    if chosen is not None and not str(chosen).endswith((WEIGHTS, INDEX)):
        raise ArtifactError(f"{name}: its config.json names {chosen!r} as weights, {_advice()}")
    _refuse_pickled_adapter(name, **known)
    infix = f".{variant}" if variant else ""
    single, index = f"model{infix}{WEIGHTS}", f"model{WEIGHTS}.index{infix}.json"
    if chosen is not None:
        single, index = str(chosen), str(chosen)
    found = repository_file(name, index, **known) if index.endswith(".json") else None
    # An index beside a single file is not read.
    if found is None or (chosen is None and repository_file(name, single, **known) is not None):
        return [single]
    shards = _named_by(found, f"{name}: {index}")
    for shard in shards:
        path = PurePosixPath(shard.replace("\\", "/"))
        if path.suffix != WEIGHTS or path.is_absolute() or ".." in path.parts:
            raise ArtifactError(f"{name}: {index} names {shard!r}, {_advice()}")
    return [index, *shards]


def _refuse_pickled_adapter(name: str, **where: Any) -> None:
    """ArtifactError of a model beside which lies an adapter in a pickle: with peft installed it would be loaded too."""
    from transformers.utils import is_peft_available

    # Of the Hub only where transformers asks for it as well.
    if not (Path(name).is_dir() or is_peft_available()) or repository_file(name, ADAPTER, **where) is None:
        return
    if repository_file(name, "adapter_model.safetensors", **where) is None:
        raise ArtifactError(
            f"{name}: {ADAPTER} is of an adapter without adapter_model.safetensors, and pickles are never loaded: "
            "merge the adapter into the model with peft's merge_and_unload and save that, or delete its files"
        )


def _advice() -> str:
    return (
        "and pickles are never loaded, nor files of other folders; expected files in safetensors beside it: "
        "save the model again with save_pretrained"
    )


def _chosen(name: str, **where: Any) -> Any:
    """The file of weights that a repository's config.json chooses, which hardly any does."""
    found = repository_file(name, "config.json", **where)
    try:
        plain = json.loads(found.read_text(encoding="utf-8")) if found is not None else {}
        return plain.get("transformers_weights")
    except (ValueError, AttributeError):  # loading says what is wrong with it
        return None


def _named_by(index: Path, what: str) -> list[str]:
    """The files that an index names."""
    try:
        plain = json.loads(index.read_text(encoding="utf-8"))
        named = sorted(set(plain["weight_map"].values()))
        if all(isinstance(one, str) for one in named) and isinstance(plain["metadata"], dict):
            return named
    except (ValueError, TypeError, KeyError, AttributeError):
        pass
    raise ArtifactError(
        f"{what} is damaged: expected `metadata` and a `weight_map` of files; download or copy it again"
    )


def repository_file(name: str, file: str, **where: Any) -> Path | None:
    """One file of a folder or repository; None where it is not there, or the Hub cannot be asked."""
    from transformers.utils.hub import cached_file

    if Path(name).is_dir():
        path = Path(name) / where.get("subfolder", "") / file
        return path if path.is_file() else None
    try:
        found = cached_file(name, file, **where)
    except Exception:  # absent, closed or out of reach: loading says which
        return None
    return None if found is None else Path(found)
