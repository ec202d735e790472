"""Digests of the files of a saved model's weights, kept in its config.json: a file that changed since is not used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hf_stitch.loading.safetensors_only import WHERE, repository_file, weight_files
from hf_stitch.models.files_digest import WEIGHTS_KEY as KEY
from hf_stitch.models.files_digest import changed_beside, digest_of_file
from hf_stitch.runtime.files import write_text


def write_digests(folder: Path, variant: str | None = None) -> None:
    """Write the digests of the weights that were saved just now into config.json beside them."""
    path = folder / "config.json"
    if not path.is_file():  # adapters are saved without it
        return
    _drop_older(folder, variant)
    found = {name: digest_of_file(folder / name) for name in weight_files(str(folder), variant=variant)}
    config = json.loads(path.read_text(encoding="utf-8"))
    mode = path.stat().st_mode
    write_text(path, json.dumps(config | {KEY: found}, indent=2, sort_keys=True) + "\n")
    path.chmod(mode)


def changed_file(name: str, files: list[str], **where: Any) -> str | None:
    """Of a saved model the first file of its weights, or beside them, that is not as it was saved.

    Args:
        name: folder or Hub id. files: those that are loaded. where: further arguments of `from_pretrained`.

    Returns:
        Its name; None where all are as they were, or where config.json has no digests, as those of 0.1.0.
    """
    known = {key: value for key, value in where.items() if key in WHERE}
    path = repository_file(name, "config.json", **known)
    try:
        config = json.loads(path.read_text(encoding="utf-8")) if path is not None else {}
        told = config.get(KEY)
    except (ValueError, AttributeError):  # loading says what is wrong with it
        return None
    if path is not None and (changed := changed_beside(config, path.parent)) is not None:
        return changed
    if told is None:
        return None
    if not isinstance(told, dict):  # damaged itself
        return files[0]
    for file in files:
        here = repository_file(name, file, **known)
        # A file that is missing is told by loading.
        if here is not None and digest_of_file(here) != told.get(file):
            return file
    return None


def _drop_older(folder: Path, variant: str | None) -> None:
    """Delete weights in one file where they were now saved in shards, or the reverse: the older would be loaded."""
    infix = f".{variant}" if variant else ""
    both = [folder / f"model{infix}.safetensors", folder / f"model.safetensors.index{infix}.json"]
    if all(path.is_file() for path in both):
        min(both, key=lambda path: path.stat().st_mtime_ns).unlink()
