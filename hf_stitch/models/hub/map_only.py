"""The thin form of a stitched model: the map alone, and which two models it was fitted between.

The halves are then taken from their own checkpoints when the model is loaded, at the pinned revision, and must be bit
for bit those of the fit: a digest of their weights is kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hf_stitch.errors import ArtifactError
from hf_stitch.loading.models import load_model, resolve
from hf_stitch.loading.vector_answers import saved_head
from hf_stitch.loading.vector_head import attach
from hf_stitch.models.empty_half import HALVES, with_settings
from hf_stitch.recipe.names import is_elsewhere, is_shipped
from hf_stitch.recipe.side import Side
from hf_stitch.runtime.tensor_digest import digest_of_tensors

if TYPE_CHECKING:
    from hf_stitch.models.configuration_stitched import StitchedConfig

FULL, MAP_ONLY = "full", "map"


class RemoteHalf(nn.Module):
    """Stands for a half whose weights are not loaded yet."""

    main_input_name = "inputs"

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise ArtifactError(
            "this stitched model was saved as its map alone and its two halves are not loaded: "
            "get it by StitchedModel.from_pretrained"
        )


def map_weights(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of a state dict what the thin form keeps."""
    return {name: one for name, one in state.items() if name.split(".")[0] not in HALVES}


def digest_of(half: nn.Module) -> str:
    """Hex digest of the names, dtypes, shapes and bytes of a module's weights."""
    # By name: the order of a state dict is that in which modules were made, which may change between versions.
    return digest_of_tensors(half.state_dict())


def pin_revisions(config: StitchedConfig, prefix: nn.Module, suffix: nn.Module) -> None:
    """Make `config` one of the thin form.

    Raises:
        ArtifactError: a half that has no commit to pin, so that another day would bring other weights.
    """
    for name, half in (("prefix", prefix), ("suffix", suffix)):
        end = config.ends[name]
        if not end.get("revision") and not Path(resolve(end["model"])).is_dir():
            raise ArtifactError(f"save: map pins {end['model']} to a commit, and none is known: give its `revision`")
        end["digest"] = digest_of(half)
        end["dtype"] = str(next((p.dtype for p in half.parameters()), torch.float32)).removeprefix("torch.")
    config.save = MAP_ONLY


def check_unchanged(config: StitchedConfig, prefix: nn.Module, suffix: nn.Module) -> None:
    """ArtifactError when a half was trained on since it was loaded: the thin form would lose that."""
    for name, half in (("prefix", prefix), ("suffix", suffix)):
        end = config.ends[name]
        kept = getattr(torch, end["dtype"])
        if all(p.dtype == kept for p in half.parameters()) and digest_of(half) != end["digest"]:
            raise ArtifactError(
                f"the {name} has other weights than {end['model']}: save the full form (model.config.save = 'full')"
            )


def load_half(config: StitchedConfig, name: str, dtype: torch.dtype | None = None) -> Any:
    """One half from its own checkpoint, cut and checked.

    Args:
        name: prefix or suffix. dtype: cast to it after the check.

    Raises:
        ArtifactError: the checkpoint has other weights than at the fit.
        RecipeError: it cannot be reached.
    """
    end = config.ends[name]
    asked = {"model": end["model"], "class": end["class"], "revision": end.get("revision"), "hook": ""}
    if Path(resolve(end["model"])).is_dir():
        asked["revision"] = None
    side = Side.model_validate(asked)
    model = load_model(side, dtype=end["dtype"])
    if "vector" in end:
        attach(model, saved_head(side, end["vector"]))
    half = HALVES[name](model, end["plan"])
    if digest_of(half) != end["digest"]:
        raise ArtifactError(
            f"{end['model']} has other weights now than when the map was fitted between them: fit again, or get the "
            "full form of this model"
        )
    # Cast after the digest, which is of the weights as they were fitted with.
    return with_settings(half if dtype is None else half.to(dtype), end)


def portable(config: StitchedConfig) -> str | None:
    """Name of a base model that only this machine has; None when the thin form loads anywhere."""
    for name in HALVES:
        model = str(config.ends[name].get("model"))
        if is_elsewhere(model) or (not is_shipped(model) and Path(resolve(model)).is_dir()):
            return model
    return None
