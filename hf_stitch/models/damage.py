"""What is wrong with a saved stitched model that does not load: one line, and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError

from hf_stitch.errors import ArtifactError
from hf_stitch.models.configuration_stitched import StitchedConfig

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@contextmanager
def told_as_damage(
    kind: type[PreTrainedModel], where: str, asked: Mapping[str, Any], changed: str | None
) -> Iterator[None]:
    """Turn what loading raises over damaged files into ArtifactError; `changed` is a file of another digest, if any."""
    try:
        yield
    except SafetensorError as error:
        raise ArtifactError(
            f"{where}: the weights cannot be read ({error}); the file is truncated, copy or fit it again"
        ) from None
    except (TypeError, AttributeError, LookupError, ValueError, RuntimeError) as error:
        if changed is not None:
            raise changed_since(where, changed) from error
        if (damage := _damage(kind, where, asked, error)) is not None:
            raise ArtifactError(f"{where}: {damage}; copy or fit it again") from None
        raise
    except OSError as error:
        if not Path(where).is_dir():
            raise
        raise ArtifactError(f"{where}: {str(error).splitlines()[0]}; copy or fit it again") from error


def changed_since(where: str, file: str) -> ArtifactError:
    """The error over a file whose digest is not that which was saved."""
    return ArtifactError(
        f"{where}: {file} is not what was saved (its digest is another): it was damaged or edited; copy or fit "
        "it again, or take `weights_digest` and `files_digest` out of config.json if it was you"
    )


def check_complete(info: Mapping[str, Any], where: str) -> None:
    """ArtifactError where weights are missing or left over: transformers only warns, and leaves missing ones random."""
    odd = sorted([*info["missing_keys"], *info["unexpected_keys"]])
    if odd:
        raise ArtifactError(f"{where}: weights and config disagree on {len(odd)} tensors ({odd[0]}, ...); fit it again")


def _damage(kind: type[PreTrainedModel], where: str, asked: Mapping[str, Any], error: Exception) -> str | None:
    """What is wrong with a saved configuration, where building an empty model of it alone fails too; else None.

    Such errors may also come of what the caller asked for, a dtype or a device map; those stay what they are.
    """
    if "ignore_mismatched_sizes" in str(error):
        return "weights and config disagree on the shape of tensors"
    place = {key: asked[key] for key in ("revision", "token", "cache_dir", "subfolder") if key in asked}
    try:
        content, _ = StitchedConfig.get_config_dict(where, **place)
        if content.get("model_type") != StitchedConfig.model_type:
            return f"config.json is damaged (model_type is {content.get('model_type')!r})"
        if not isinstance(content.get("dtype") or "", str):
            return f"config.json is damaged (dtype is {content['dtype']!r})"
        config = StitchedConfig.from_pretrained(where, **place)
        with torch.device("meta"):
            kind(config, structures=asked.get("structures"))
    except (TypeError, AttributeError, LookupError, ValueError, RuntimeError) as found:
        return f"config.json is damaged ({type(found).__name__}: {str(found).splitlines()[0][:120]})"
    return None
