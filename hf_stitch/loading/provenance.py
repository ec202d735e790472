"""Where a pretrained model comes from: its commit, a stamp of its files, its licence."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from hf_stitch.loading.models import resolve
from hf_stitch.recipe.data import Data
from hf_stitch.recipe.names import is_shipped
from hf_stitch.recipe.side import Side


def data_stamp(data: Data) -> dict[str, Any]:
    """What a collection's cache key must know of its data: the request, and the files' sizes and times."""
    from hf_stitch.zoo.catalogue import resolve_data

    path = resolve_data(data.dataset) if is_shipped(data.dataset) else Path(data.dataset)
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else []
    # Not the content: sound may take many gigabytes, and this is asked on every run.
    stamps = [[p.name, p.stat().st_size, p.stat().st_mtime_ns] for p in files]
    return {"asked": data.model_dump(mode="json"), "files": stamps}


HASHED_WHOLE = 16 * 2**20
"""Files up to this many bytes are hashed whole for a fingerprint; of larger ones the header, size and time. By hand."""


def commit_of(side: Side) -> str | None:
    """Commit hash of a Hub id, from the local cache or else asked of the Hub; None for folders and when unreachable."""
    from huggingface_hub import model_info, try_to_load_from_cache

    place = resolve(side.model)
    if Path(place).is_dir():
        return None
    cached = try_to_load_from_cache(place, "config.json", revision=side.revision)
    if isinstance(cached, str):
        return Path(cached).parent.name
    try:
        return model_info(place, revision=side.revision).sha
    except Exception:  # offline, private or absent: loading says which
        return None


def fingerprint_of(side: Side) -> str:
    """A stamp of the model's files for caches: another stamp means other weights or configuration.

    Hub ids are stamped with their commit (with the name and revision when it cannot be found out), folders with every
    file's name, size and content; of files above `HASHED_WHOLE` bytes the header and time stand for the content.
    """
    place = resolve(side.model)
    if Path(place).is_dir():
        stamps = [_stamp(path, Path(place)) for path in sorted(Path(place).rglob("*")) if path.is_file()]
    else:
        stamps = [[place, commit_of(side) or side.revision]]
    return hashlib.sha256(json.dumps([side.class_, stamps]).encode()).hexdigest()[:24]


def _stamp(path: Path, folder: Path) -> list[Any]:
    status = path.stat()
    stamp: list[Any] = [path.relative_to(folder).as_posix(), status.st_size]
    with path.open("rb") as file:
        if status.st_size <= HASHED_WHOLE:
            return [*stamp, hashlib.file_digest(file, "sha256").hexdigest()]
        # Names, dtypes and shapes of safetensors stand in the first MB; the time stands for the numbers.
        return [*stamp, hashlib.sha256(file.read(2**20)).hexdigest(), status.st_mtime_ns]


def licence_of(side: Side) -> str | None:
    """Licence that a model's own card states; None where there is no card to read."""
    from huggingface_hub import ModelCard, try_to_load_from_cache

    place = resolve(side.model)
    local = Path(place) / "README.md"
    if not local.is_file():
        hub = not Path(place).is_dir()
        cached = try_to_load_from_cache(place, "README.md", revision=side.revision) if hub else None
        if not isinstance(cached, str):
            return None
        local = Path(cached)
    licence = ModelCard.load(local, ignore_metadata_errors=True).data.get("license")
    return str(licence) if licence else None
