"""Digests of what lies beside the weights of a saved model, kept in its config.json: the configuration itself, and the
files of its processors. A tokenizer with one letter changed gives other answers without a word.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hf_stitch.errors import ArtifactError
from hf_stitch.loading.processors import TARGET_FOLDER
from hf_stitch.runtime.files import write_text

CONFIG = "config.json"
KEY, WEIGHTS_KEY = "files_digest", "weights_digest"
"""Entries of config.json: `{file: hex digest}`. Not of `StitchedConfig`: whoever saves that beside other files must not
say that they are these."""
GENERATION = "generation_config.json"
PROCESSORS = (
    *("preprocessor_config.json", "processor_config.json", "tokenizer.json", "tokenizer_config.json"),
    *("special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "vocab.json", "vocab.txt", "merges.txt"),
    *("spiece.model", "sentencepiece.bpe.model", "tokenizer.model"),
)
"""What processors save beside the model, and what the target's tokenizer saves in its own folder."""


def seal(folder: Path, *, processors: bool = True) -> None:
    """Write the digests of the files that were saved just now into config.json beside them.

    Args:
        processors: those there belong to the model; otherwise they are none of its business.
    """
    path = folder / CONFIG
    if not path.is_file():  # adapters are saved without it
        return
    config = json.loads(path.read_text(encoding="utf-8"))
    places = [f"{below}{name}" for below in ("", f"{TARGET_FOLDER}/") for name in PROCESSORS] if processors else []
    files = [name for name in (GENERATION, *places) if (folder / name).is_file()]
    found = {name: digest_of_file(folder / name) for name in files}
    found[CONFIG] = _of_content(config, found)
    mode = path.stat().st_mode
    write_text(path, json.dumps(config | {KEY: found}, indent=2, sort_keys=True) + "\n")
    path.chmod(mode)


def changed_beside(config: Mapping[str, Any], folder: Path) -> str | None:
    """The first file beside the weights, config.json among them, that is there and is not as it was saved."""
    told = copy.copy(config.get(KEY))
    if told is None:
        return CONFIG if WEIGHTS_KEY in config else None  # both are written, or neither, as by 0.1.0
    if not isinstance(told, dict) or told.pop(CONFIG, None) != _of_content(config, told):
        return CONFIG
    there = [name for name in told if (folder / name).is_file()]
    return next((name for name in there if digest_of_file(folder / name) != told[name]), None)


def is_sealed(folder: Path) -> bool:
    """Whether config.json knows the digests of what lies beside the weights."""
    return bool(_told(folder))


def check_whole(folder: Path) -> None:
    """ArtifactError where a file that was saved beside the weights is lost."""
    lost = [name for name in _told(folder) or () if not (folder / name).is_file()]
    if lost:
        raise ArtifactError(f"{folder}: {lost[0]} is missing, which was saved there; copy or fit it again")


def check_as_saved(folder: Path) -> None:
    """ArtifactError where a file beside the weights, config.json among them, is lost or is not as it was saved."""
    check_whole(folder)
    changed = changed_beside(json.loads((folder / CONFIG).read_text(encoding="utf-8")), folder)
    if changed is not None:
        raise ArtifactError(f"{folder}: {changed} is not as it was saved; copy or fit it again")


def _told(folder: Path) -> Any:
    try:
        return json.loads((folder / CONFIG).read_text(encoding="utf-8")).get(KEY)
    except (OSError, ValueError, AttributeError):  # loading says what is wrong with it
        return None


def digest_of_file(path: Path) -> str:
    """Of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _of_content(config: Mapping[str, Any], files: Mapping[str, str]) -> str:
    """Of a configuration, however it is laid out, with the digests of the files beside it but not of the weights."""
    content = {key: value for key, value in config.items() if key not in (KEY, WEIGHTS_KEY)}
    return hashlib.sha256(json.dumps([content, files], sort_keys=True).encode()).hexdigest()
