"""Checkpoints without safetensors: pickles, which can run code, are never loaded; what to do instead."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hf_stitch.recipe.names import is_folder

BOT = "SFconvertbot"  # of the Hub: offers a model's weights as safetensors in a pull request
CONVERTER = "https://huggingface.co/spaces/safetensors/convert"
SWITCH = "DISABLE_SAFETENSORS_CONVERSION"  # environment variable of transformers
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")  # names that transformers gives


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
        pickled = any((Path(name) / file).is_file() for file in PICKLES)
        why = ", and pickles are never loaded" if pickled else ""
        return f"{said}{why}: save the model again with save_pretrained"
    offered = converted(name)
    if offered is not None and offered != revision:
        return f"{said}, and pickles are never loaded; the Hub's converter offers them: set `revision: {offered}`"
    return (
        f"{said}, and pickles are never loaded; convert the model at {CONVERTER} and set `revision: refs/pr/NUMBER` "
        "of the pull request that this opens, or save it anew with save_pretrained"
    )
