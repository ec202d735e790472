"""The two halves of a stitched model before its weights are loaded: how each is built and cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers import GenerationConfig

from hf_stitch.errors import ArtifactError, StitchError
from hf_stitch.hooks.prefix import apply_prefix_plan
from hf_stitch.hooks.suffix import apply_suffix_plan
from hf_stitch.loading.model_classes import class_of, loaded_class, not_imported
from hf_stitch.loading.models import uniform
from hf_stitch.loading.objects.given_model import structure_of
from hf_stitch.loading.objects.stamp import build_of
from hf_stitch.loading.objects.wrapped import INSIDE
from hf_stitch.loading.vector_head import VectorHead, attach
from hf_stitch.recipe.side import Role

if TYPE_CHECKING:
    from hf_stitch.models.configuration_stitched import StitchedConfig

HALVES = {"prefix": apply_prefix_plan, "suffix": apply_suffix_plan}
ROLES: dict[str, Role] = {"prefix": "source", "suffix": "target"}


def empty_half(config: StitchedConfig, name: str, structure: Any = None) -> Any:
    """An empty model of one half, already cut.

    Args:
        structure: a model by which it is built, where its configuration does not say that, or somebody wants it so.

    Raises:
        ArtifactError: a class of the user's that is not imported, or a structure that is missing or another.
    """
    end = config.ends[name]
    own: Any = config.source if name == "prefix" else config.target
    if structure is not None:
        whole = structure_of(structure, end["class"], own)
        if end.get("build", build_of(whole)) != build_of(whole):
            raise _built_otherwise(structure, ROLES[name])
    else:
        whole = uniform(_known_class(own, end, name)._from_config(own), own.dtype)
    try:
        half = HALVES[name](_as_it_was(whole, end), end["plan"])
    except (StitchError, AttributeError) as error:
        if structure is None:
            raise
        raise _built_otherwise(structure, ROLES[name]) from error
    return with_settings(half, end)


def _built_otherwise(structure: Any, role: Role) -> ArtifactError:
    return ArtifactError(
        f"{role}=: the {type(structure).__name__} is built otherwise than the {role} of the fit: give one of the same "
        "class with the same arguments; its weights alone may be others"
    )


def _known_class(own: Any, end: dict[str, Any], name: str) -> Any:
    """The class that builds a half of its configuration."""
    if end.get("built") is False:
        role, kind = ROLES[name], getattr(own, "module", None) or f"{end.get('module', 'transformers')}.{end['class']}"
        raise ArtifactError(
            f"the {role} of this stitched model is a {kind}, which no configuration builds: from Python give one of "
            f"that build, StitchedModel.from_pretrained(DIR, {role}=MODEL), whose weights are then those of the folder"
        )
    if (module := end.get("module")) is None:
        return class_of(own, end["class"])
    found = loaded_class(end["class"], module)
    if found is None:
        raise ArtifactError(not_imported(end["class"], module))
    return found


def restore_buffers(half: Any, structure: Any) -> None:
    """Give a half that was loaded the buffers that are not saved, from the model by which it was built."""
    saved, held = half.state_dict().keys(), dict(structure.named_buffers())
    for name in [name for name, _ in half.named_buffers()]:
        place = name if name in held else name.removeprefix(INSIDE)
        if name not in saved and place in held:
            owner, _, last = name.rpartition(".")
            half.get_submodule(owner).register_buffer(last, held[place].detach().clone().to(half.device), False)


def _as_it_was(model: Any, end: dict[str, Any]) -> Any:
    """An empty model with the vector head that it had, if any; its weights are still to be loaded."""
    return attach(model, VectorHead.from_spec(end["vector"])) if "vector" in end else model


def with_settings(half: Any, end: dict[str, Any]) -> Any:
    """A half with the generation settings that were saved for it, if any."""
    if "generation" in end:
        settings = GenerationConfig.from_dict(end["generation"])
        settings._original_object_hash = hash(
            settings
        )  # odd published ones may be saved again while they are unchanged
        half.generation_config = settings
    return half
