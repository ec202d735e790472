"""A map that somebody made: the identity, or any `torch.nn.Module` on timesteps, as a stitching layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hf_stitch.errors import ActivationError, ArtifactError, RecipeError
from hf_stitch.recipe.stitch import Stitch
from hf_stitch.stitching.layers.layer import StitchingLayer
from hf_stitch.stitching.layers.plain_modules import built, plain

IDENTITY = "identity"
ROWS = 5  # timesteps on which a module is tried; by hand, more than one and odd


class ModuleLayer(StitchingLayer):
    """Runs the module itself, in the dtype of its own weights; the result has the input's dtype.

    A module of `plain_modules.KNOWN` is saved as plain data. Of others the weights are saved, and whoever loads them
    gives a module of the same build.
    """

    method = "module"

    def __init__(self, module: nn.Module, features_in: int, features_out: int) -> None:
        super().__init__({}, features_in, features_out)
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        """Map activations; ActivationError when the last dimension is not `features_in`."""
        if x.shape[-1] != self.features_in:
            raise ActivationError(f"the layer takes {self.features_in} features, got {x.shape[-1]}")
        return self.predict(x)

    def predict(self, rows: Tensor) -> Tensor:
        dtype = next((one.dtype for one in self.module.parameters() if one.is_floating_point()), rows.dtype)
        found: Tensor = self.module(rows.to(dtype))
        return found.to(rows.dtype)

    @property
    def facts(self) -> type[Stitch]:
        return Stitch

    @property
    def spec(self) -> dict[str, Any]:
        return {**super().spec, "module": plain(self.module), "class": _named(self.module)}

    @classmethod
    def empty(cls, spec: Mapping[str, Any]) -> ModuleLayer:
        """Of a spec; its weights are still to be loaded.

        Raises:
            ArtifactError: a module that only its maker can build.
        """
        if spec["module"] is None:
            raise ArtifactError(
                f"the layer of this stitched model is a {spec['class']}, which its own code alone can build: give "
                "a module of the same build, StitchedModel.from_pretrained(..., layer=MODULE)"
            )
        made = cls(built(spec["module"]), int(spec["features_in"]), int(spec["features_out"]))
        for name, one in (*made.named_parameters(), *made.named_buffers()):
            if name in spec["tensors"]:
                one.data = one.data.to(getattr(torch, spec["tensors"][name]["dtype"]))
        return made

    @classmethod
    def given(cls, module: nn.Module, spec: Mapping[str, Any]) -> ModuleLayer:
        """A module of the same build as that which was saved; its weights are still to be loaded.

        Raises:
            ArtifactError: it has other weights, or a fitted map was saved.
        """
        if spec.get("method") != cls.method:
            raise ArtifactError(f"layer: this model's layer is the fitted map {spec.get('method')}: leave it out")
        made = cls(module, int(spec["features_in"]), int(spec["features_out"]))
        own = {name: one["shape"] for name, one in made.spec["tensors"].items()}
        saved = {name: one["shape"] for name, one in spec["tensors"].items()}
        if own != saved:
            odd = sorted(name for name in own.keys() | saved.keys() if own.get(name) != saved.get(name))[0]
            raise ArtifactError(
                f"layer: a {spec['class']} was saved, the {_named(module)} has other weights ({odd} is "
                f"{own.get(odd, 'not there')}, saved is {saved.get(odd, 'none')}): give a module of the same build"
            )
        return made


def layer_between(given: Any, features_in: int, features_out: int, ends: str) -> StitchingLayer:
    """A stitching layer of what somebody made; a module is not copied, so that it is trained where it is.

    Args:
        given: `identity`, a module, or a stitching layer. features_in, features_out: numbers in a row on both sides.
        ends: the two hook points in words, for errors.

    Raises:
        RecipeError: no map of these widths, or one whose rows depend on each other.
    """
    if isinstance(given, StitchingLayer):
        if (given.features_in, given.features_out) != (features_in, features_out):
            took = f"maps {given.features_in} to {given.features_out} features"
            raise RecipeError(f"layer: the {given.method} map {took}; {ends}")
        return given
    if isinstance(given, str) and given == IDENTITY:
        given = nn.Identity()
    if not isinstance(given, nn.Module):
        shown = repr(given)[:40] if isinstance(given, str) else f"a {type(given).__name__}"
        raise RecipeError(f"layer: expected {IDENTITY!r}, a torch.nn.Module or a fitted map (model.layer); got {shown}")
    if isinstance(given, nn.Identity) and features_in != features_out:
        raise RecipeError(f"layer: the identity keeps the width; {ends}: give a module that maps one to the other")
    layer = ModuleLayer(given, features_in, features_out)
    _check(layer, ends)
    return layer


def _check(layer: ModuleLayer, ends: str) -> None:
    """RecipeError where a module does not take such rows, gives others, or mixes them."""
    module, name = layer.module, _named(layer.module)
    place = next((one.device for one in (*module.parameters(), *module.buffers())), torch.device("cpu"))
    rows = torch.randn(1, ROWS, layer.features_in, generator=torch.Generator().manual_seed(0)).to(place)
    modes = {one: one.training for one in module.modules()}
    try:
        with torch.no_grad():
            module.eval()
            found = module(rows.to(next((p.dtype for p in module.parameters() if p.is_floating_point()), rows.dtype)))
            alone = layer.predict(rows[:, -1:]) if isinstance(found, Tensor) else None
    except Exception as error:  # whatever somebody's module raises
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RecipeError(f"layer: {name} fails on rows of {layer.features_in} features ({why}); {ends}") from error
    finally:
        for one, mode in modes.items():
            one.training = mode
    if not isinstance(found, Tensor):
        raise RecipeError(f"layer: {name} gives a {type(found).__name__}; expected one tensor (b, t, features)")
    if tuple(found.shape) != (1, ROWS, layer.features_out):
        raise RecipeError(
            f"layer: {name} makes {tuple(found.shape)} of {tuple(rows.shape)}, needed is (1, {ROWS}, "
            f"{layer.features_out}); {ends}"
        )
    assert alone is not None
    if not torch.allclose(found[:, -1:].to(alone.dtype), alone, rtol=1e-2, atol=1e-3):
        raise RecipeError(
            f"layer: {name} gives another answer to a timestep when others stand beside it, so that padding would "
            "count; give a module that maps timestep by timestep"
        )


def _named(module: nn.Module) -> str:
    kind = type(module)
    return kind.__qualname__ if kind.__module__.startswith("torch.") else f"{kind.__module__}.{kind.__qualname__}"
